//! Which messages of a queue must not overtake each other. Pure.

use tramline_core::capabilities::Ordering;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::Source;

/// What is promised of the order in which a queue is handled.
///
/// Where it is kept, the broker lets one consumer get messages at a time. It makes the next one
/// active as soon as that consumer is cancelled, and puts what this one still had in front of the
/// queue later: so it is not cancelled, and the end of its channel does both at once, in order.
/// What is given back before that would be delivered again at once, behind what the consumer still
/// has; the end of the channel brings it back to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Consumers work beside each other.
    None,
    /// One consumer at a time, and so much is kept by who handles the messages.
    OneConsumer(Ordering),
}

impl Order {
    pub(super) fn of(source: &Source) -> Self {
        match &source.queue {
            QueueRef::Main(_) if has_one_consumer(&source.spec) => {
                Self::OneConsumer(source.spec.ordering)
            }
            // Dead letters are in no order.
            QueueRef::Main(_) | QueueRef::Dead(_) => Self::None,
        }
    }

    /// Whether others get nothing as long as a consumer is there.
    pub(super) fn has_one_consumer(self) -> bool {
        self != Self::None
    }

    /// Whether `envelope` has a place that it must come back to.
    pub(super) fn has_place_for(self, envelope: &Envelope) -> bool {
        match self {
            Self::None | Self::OneConsumer(Ordering::None) => false,
            Self::OneConsumer(Ordering::PerKey) => envelope.key.is_some(),
            Self::OneConsumer(Ordering::PerQueue) => true,
        }
    }
}

/// Whether `spec` asks for what is named `argument`.
pub(super) fn asks(spec: &QueueSpec, argument: &str) -> bool {
    spec.arguments.get(argument).is_some_and(|value| value != "false")
}

fn has_one_consumer(spec: &QueueSpec) -> bool {
    spec.ordering != Ordering::None || asks(spec, "x-single-active-consumer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tramline_core::name::QueueName;

    fn order(change: impl FnOnce(&mut Source)) -> Order {
        let mut source = Source::of(QueueRef::Main(QueueName::foreign("work")), 10);
        change(&mut source);
        Order::of(&source)
    }

    #[test]
    fn one_consumer_has_what_is_kept_in_order_or_what_asks_for_it() {
        assert_eq!(order(|_| ()), Order::None);
        let keys = order(|source| source.spec.ordering = Ordering::PerKey);
        assert_eq!(keys, Order::OneConsumer(Ordering::PerKey));
        let argument = |value: &str| {
            let pair = ("x-single-active-consumer".to_owned(), value.to_owned());
            order(|source| drop(source.spec.arguments.insert(pair.0, pair.1)))
        };
        assert_eq!(argument("true"), Order::OneConsumer(Ordering::None));
        assert_eq!(argument("false"), Order::None);
        let dead = order(|source| {
            source.spec.ordering = Ordering::PerQueue;
            source.queue = QueueRef::Dead(QueueName::foreign("work"));
        });
        assert_eq!(dead, Order::None);
    }

    #[test]
    fn what_others_wait_behind_has_a_place() {
        let keyed = Envelope { key: Some("x".to_owned()), ..Envelope::default() };
        let places = |order: Order| {
            [&keyed, &Envelope::default()].map(|envelope| order.has_place_for(envelope))
        };
        assert_eq!(places(Order::None), [false, false]);
        assert_eq!(places(Order::OneConsumer(Ordering::None)), [false, false]);
        assert_eq!(places(Order::OneConsumer(Ordering::PerKey)), [true, false]);
        assert_eq!(places(Order::OneConsumer(Ordering::PerQueue)), [true, true]);
    }
}
