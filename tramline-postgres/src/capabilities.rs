//! What PostgreSQL can do.

use crate::queue::{BODY_BYTES_MAX, HEADER_BYTES_MAX};
use std::time::Duration;
use tramline_core::capabilities::{
    Capabilities, Delay, DeliveryCount, FilterSupport, LengthLimit, Ordering, Support,
    TemporaryQueues,
};

/// The same for every queue.
pub(crate) fn capabilities() -> Capabilities {
    let (native, no) = (Support::Native, Support::No);
    Capabilities {
        ordering: Ordering::PerQueue,
        key_lock: native,
        delay: Some(Delay { resolution: Duration::from_millis(2), max: None }),
        delayed_retry: native,
        cancel_scheduled: no,
        dead_letter: native,
        deliveries: DeliveryCount::Unheard,
        expiry: native,
        filters: FilterSupport::NATIVE,
        priority: native,
        length_max: LengthLimit::Whole,
        dedup: native,
        unique: native,
        keep_completed: native,
        keep_dead: native,
        shared_transaction: native,
        random_access: native,
        peek: native,
        temporary_queues: TemporaryQueues::ByName,
        body_bytes_max: Some(BODY_BYTES_MAX),
        header_bytes_max: Some(HEADER_BYTES_MAX),
        hold_max: None,
    }
}
