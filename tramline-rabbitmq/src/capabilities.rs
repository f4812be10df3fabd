//! What RabbitMQ can do, for each kind of queue.

use crate::declare::QueueKind;
use crate::delay::{PAUSE_MAX, RESOLUTION};
use crate::options::RabbitMqOptions;
use crate::send::Limits;
use tramline_core::capabilities::{
    Capabilities, Delay, DeliveryCount, FilterSupport, HeaderValues, LengthLimit, Ordering,
    Support, TemporaryQueues,
};
use tramline_core::topology::QueueSpec;

/// The filters that bindings can say.
pub(crate) const FILTERS: FilterSupport = FilterSupport {
    header_values: HeaderValues::TextAndBool,
    sql: Support::No,
    ..FilterSupport::NATIVE
};

/// The frame that brokers ask for unless they are configured otherwise.
const FRAME_BYTES: u32 = 128 * 1024;

/// What can be done for `queue` on a connection whose frames have up to `frame_bytes_max` bytes.
pub(crate) fn capabilities(
    queue: &QueueSpec,
    options: &RabbitMqOptions,
    frame_bytes_max: Option<u32>,
) -> Capabilities {
    let (native, no) = (Support::Native, Support::No);
    let kind = QueueKind::known(queue);
    Capabilities {
        // A single active consumer, and the engine's lanes.
        ordering: Ordering::PerQueue,
        key_lock: no,
        delay: Some(Delay { resolution: RESOLUTION, max: Some(PAUSE_MAX) }),
        delayed_retry: no,
        cancel_scheduled: no,
        dead_letter: no,
        // Where the kind is not known, nothing is promised; what the broker does count is heeded.
        deliveries: match kind {
            Some(QueueKind::Quorum) => DeliveryCount::Raw,
            Some(QueueKind::Classic) | None => DeliveryCount::No,
        },
        expiry: native,
        filters: FILTERS,
        priority: if kind == Some(QueueKind::Classic) { native } else { no },
        length_max: LengthLimit::EachQueue,
        dedup: no,
        unique: no,
        keep_completed: no,
        keep_dead: native,
        shared_transaction: no,
        random_access: no,
        peek: native,
        temporary_queues: TemporaryQueues::ByBroker,
        body_bytes_max: Some(options.body_bytes_max),
        header_bytes_max: header_bytes_max(options, frame_bytes_max),
        hold_max: Some(options.hold_max),
    }
}

/// What is left for headers: all of them travel in one frame.
fn header_bytes_max(options: &RabbitMqOptions, frame_bytes_max: Option<u32>) -> Option<u64> {
    let frame_bytes_max = frame_bytes_max.or(options.frame_bytes_max).unwrap_or(FRAME_BYTES);
    Limits { body_bytes_max: options.body_bytes_max, frame_bytes_max }.header_bytes_max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tramline_core::name::QueueName;

    #[test]
    fn a_queue_can_do_what_its_kind_can() {
        let options = RabbitMqOptions::from_url("amqp://localhost").unwrap();
        let quorum = QueueSpec::new(QueueName::foreign("work"));
        let temporary = QueueSpec { temporary: true, ..quorum.clone() };
        let with = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, text)| (name.to_string(), text.to_string()));
            QueueSpec { arguments: pairs.collect(), ..quorum.clone() }
        };
        for (spec, counts, priority) in [
            (quorum.clone(), DeliveryCount::Raw, Support::No),
            (with(&[("queue-type", "classic")]), DeliveryCount::No, Support::Native),
            (with(&[("declare", "no")]), DeliveryCount::No, Support::No),
            (with(&[("declare", "no"), ("queue-type", "quorum")]), DeliveryCount::Raw, Support::No),
            (temporary, DeliveryCount::No, Support::Native),
        ] {
            let can = capabilities(&spec, &options, None);
            assert_eq!((can.deliveries, can.priority), (counts, priority), "{spec:?}");
        }
    }

    #[test]
    fn headers_get_what_the_frame_has_left_that_was_agreed_on() {
        let options = RabbitMqOptions::from_url("amqp://localhost?frame_max=8192").unwrap();
        let spec = QueueSpec::new(QueueName::foreign("work"));
        let left = |agreed| capabilities(&spec, &options, agreed).header_bytes_max;
        assert_eq!(left(None), left(Some(8192)));
        assert!(left(Some(128 * 1024)) > left(Some(64 * 1024)));
        assert_eq!(left(Some(0)), None, "a broker may set no bound");
    }
}
