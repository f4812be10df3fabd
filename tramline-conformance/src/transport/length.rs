//! A queue with a maximum refuses what is too much, or the maximum is refused.

use crate::TransportHarness;
use crate::kit::declared::declared_or_refused;
use crate::kit::message::{message, to_queue};
use crate::kit::scene::{WORK, assert_kind};
use crate::kit::topology::plain;
use tramline_core::ErrorKind;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::Sent;

pub async fn a_full_queue_refuses_messages_or_no_length_is_accepted<H: TransportHarness>(
    harness: H,
) {
    const LENGTH: u64 = 3;
    /// Brokers in several places count a little late.
    const SLACK: u64 = 50;
    let spec = QueueSpec { length_max: Some(LENGTH), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.length_max).await else {
        return;
    };
    for number in 0..LENGTH + SLACK {
        let id = format!("m{number}");
        let sent = scene.answers(&[to_queue(WORK, message(&id))]).await;
        match &sent[0] {
            Sent::Accepted { .. } => {}
            Sent::Refused(error) => {
                assert!(number >= LENGTH, "refused although only {number} of {LENGTH} wait");
                return assert_kind(error, ErrorKind::Full);
            }
            unknown => panic!("expected an answer for {id}, got: {unknown:?}"),
        }
    }
    panic!("expected a queue of at most {LENGTH} to be full, but it took {SLACK} more");
}
