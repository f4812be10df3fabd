//! What was sent before, for as long as a queue remembers it. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;

/// How many old entries a new one takes with it: more than one, so that they cannot pile up.
const FORGOTTEN_AT_ONCE: usize = 2;

/// What a message is known by: the sender's key `order-7` is not the id `order-7`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    Key(String),
    Id(MessageId),
}

impl Known {
    /// By the sender's idempotency key, else by its id.
    pub(crate) fn of(envelope: &Envelope) -> Option<Self> {
        let key = envelope.idempotency_key.clone().map(Self::Key);
        key.or_else(|| envelope.id.clone().map(Self::Id))
    }
}

/// The messages that a queue was sent within its window.
#[derive(Debug)]
pub(crate) struct Window {
    length: Duration,
    /// Until when each is known. Only ever looked up.
    known: HashMap<Known, Timestamp>,
    /// The same in the order in which they came.
    order: VecDeque<(Timestamp, Known)>,
}

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, known: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn knows(&self, known: &Known, now: Timestamp) -> bool {
        self.known.get(known).is_some_and(|until| now < *until)
    }

    /// Remembers a message that came in, and forgets a few old ones.
    pub(crate) fn remember(&mut self, known: Known, now: Timestamp) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((until, old)) = self.order.pop_front_if(|(until, _)| *until <= now) else {
                break;
            };
            // What came again after its time is known by its later entry.
            if self.known.get(&old) == Some(&until) {
                self.known.remove(&old);
            }
        }
        let until = now.after(self.length);
        self.order.push_back((until, known.clone()));
        self.known.insert(known, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_forgotten_a_little_at_a_time_and_what_came_again_is_not() {
        let mut window = Window::new(Duration::from_secs(10));
        let (at, key) = (Timestamp::from_millis, |n: u8| Known::Key(n.to_string()));
        (0..4).for_each(|n| window.remember(key(n), at(0)));
        assert!(window.knows(&key(3), at(9_999)) && !window.knows(&key(3), at(10_000)));
        window.remember(key(2), at(10_000));
        assert_eq!((window.known.len(), window.order.len()), (2, 3), "0 and 1 are forgotten");
        window.remember(key(9), at(10_000));
        assert_eq!((window.known.len(), window.order.len()), (2, 2), "2 came again, 3 is over");
        assert!(window.knows(&key(2), at(19_999)));
    }
}
