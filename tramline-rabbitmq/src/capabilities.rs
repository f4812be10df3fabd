//! What RabbitMQ can do, for each kind of queue.

use crate::declare::QueueKind;
use crate::delay::{PAUSE_MAX, RESOLUTION};
use crate::options::RabbitMqOptions;
use tramline_core::capabilities::{
    Capabilities, Delay, DeliveryCount, FilterSupport, HeaderValues, LengthLimit, Ordering, Support,
};
use tramline_core::topology::QueueSpec;
use tramline_core::wire::RECORD_BYTES_MAX;

/// The filters that bindings can say.
pub(crate) const FILTERS: FilterSupport = FilterSupport {
    header_values: HeaderValues::TextAndBool,
    sql: Support::No,
    ..FilterSupport::NATIVE
};

/// What a frame holds beside headers: the properties of a message, each of up to 255 bytes, and what
/// the broker itself adds to one that it moves.
const PROPERTIES_BYTES_MAX: u64 = 8 * 1024;

/// The frame that brokers ask for unless they are configured otherwise.
const FRAME_BYTES: u32 = 128 * 1024;

/// What can be done for `queue` on a connection whose frames have up to `frame_bytes_max` bytes.
pub(crate) fn capabilities(
    queue: &QueueSpec,
    options: &RabbitMqOptions,
    frame_bytes_max: Option<u32>,
) -> Capabilities {
    let (native, no) = (Support::Native, Support::No);
    let classic = QueueKind::of(queue) == QueueKind::Classic;
    Capabilities {
        // A single active consumer, and the engine's lanes.
        ordering: Ordering::PerQueue,
        key_lock: no,
        delay: Some(Delay { resolution: RESOLUTION, max: Some(PAUSE_MAX) }),
        delayed_retry: no,
        cancel_scheduled: no,
        dead_letter: no,
        deliveries: if classic { DeliveryCount::No } else { DeliveryCount::Raw },
        expiry: native,
        filters: FILTERS,
        priority: if classic { native } else { no },
        length_max: LengthLimit::EachQueue,
        dedup: no,
        keep_completed: no,
        keep_dead: native,
        shared_transaction: no,
        random_access: no,
        peek: native,
        temporary_queues: native,
        body_bytes_max: Some(options.body_bytes_max),
        header_bytes_max: Some(header_bytes_max(frame_bytes_max.or(options.frame_bytes_max))),
        hold_max: Some(options.hold_max),
    }
}

/// What is left for headers: all of them travel in one frame.
fn header_bytes_max(frame_bytes_max: Option<u32>) -> u64 {
    let frame = u64::from(frame_bytes_max.filter(|bytes| *bytes > 0).unwrap_or(FRAME_BYTES));
    frame.saturating_sub(RECORD_BYTES_MAX as u64 + PROPERTIES_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_get_what_a_frame_has_left() {
        let left = |frame| header_bytes_max(frame);
        assert_eq!(left(Some(128 * 1024)), 110 * 1024);
        assert_eq!((left(None), left(Some(0))), (110 * 1024, 110 * 1024));
        assert_eq!(left(Some(4096)), 0);
    }
}
