//! What waits, and what becomes of one more when there is no room: pure.

use std::collections::VecDeque;
use tramline_core::clock::Timestamp;

/// What becomes of an item for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Whoever pushes it waits for room.
    #[default]
    Wait,
    /// It comes back to whoever pushes it.
    Reject,
    /// It takes the place of the item that was pushed last.
    DropNewest,
    /// The item that has waited longest leaves, and it stands behind all others.
    DropOldest,
}

/// Items in the order in which they came, never more than there is room for.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    items: VecDeque<(Timestamp, T)>,
    capacity: usize,
    when_full: WhenFull,
    is_closed: bool,
}

/// What became of an item.
#[derive(Debug, PartialEq)]
pub(super) enum Put<T> {
    In,
    /// It is in, and this one is not any more.
    InPlaceOf(T),
    Full(T),
    Closed(T),
}

impl<T> Shelf<T> {
    pub(super) fn new(capacity: usize, when_full: WhenFull) -> Self {
        Self { items: VecDeque::new(), capacity, when_full, is_closed: false }
    }

    pub(super) fn put(&mut self, item: T, now: Timestamp) -> Put<T> {
        if self.is_closed {
            return Put::Closed(item);
        }
        let displaced = match self.when_full {
            _ if self.items.len() < self.capacity => None,
            WhenFull::Wait | WhenFull::Reject => return Put::Full(item),
            WhenFull::DropNewest => self.items.pop_back(),
            WhenFull::DropOldest => self.items.pop_front(),
        };
        self.items.push_back((now, item));
        displaced.map_or(Put::In, |(_, displaced)| Put::InPlaceOf(displaced))
    }

    pub(super) fn take(&mut self) -> Option<T> {
        self.items.pop_front().map(|(_, item)| item)
    }

    /// Takes nothing more from now on.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// All that waits; it waits no longer.
    pub(super) fn clear(&mut self) -> Vec<T> {
        std::mem::take(&mut self.items).into_iter().map(|(_, item)| item).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Since when the one at the head waits.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.items.front().map(|(since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Put,
        Take,
        Close,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![6 => Just(Act::Put), 4 => Just(Act::Take), 1 => Just(Act::Close)];
        proptest::collection::vec(act, 0..60)
    }

    fn ways() -> impl Strategy<Value = WhenFull> {
        use WhenFull::{DropNewest, DropOldest, Reject, Wait};
        prop_oneof![Just(Wait), Just(Reject), Just(DropNewest), Just(DropOldest)]
    }

    proptest! {
        /// Each number is in exactly one place: taken, waiting, displaced or given back.
        #[test]
        fn nothing_is_lost_or_doubled_and_order_is_kept(
            acts in acts(), capacity in 1usize..5, when_full in ways(),
        ) {
            let mut shelf = Shelf::new(capacity, when_full);
            let (mut model, mut next, mut closed) = (Vec::new(), 0u32, false);
            for act in acts {
                match act {
                    Act::Put => {
                        let now = Timestamp::from_micros(next.into());
                        let expected = if closed {
                            Put::Closed(next)
                        } else if model.len() < capacity {
                            model.push(next);
                            Put::In
                        } else {
                            match when_full {
                                WhenFull::Wait | WhenFull::Reject => Put::Full(next),
                                WhenFull::DropNewest => {
                                    let newest = model.pop().unwrap();
                                    model.push(next);
                                    Put::InPlaceOf(newest)
                                }
                                WhenFull::DropOldest => {
                                    let oldest = model.remove(0);
                                    model.push(next);
                                    Put::InPlaceOf(oldest)
                                }
                            }
                        };
                        prop_assert_eq!(shelf.put(next, now), expected);
                        next += 1;
                    }
                    Act::Take => {
                        let expected = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(shelf.take(), expected);
                    }
                    Act::Close => {
                        shelf.close();
                        closed = true;
                    }
                }
                prop_assert!(shelf.len() <= capacity);
                let oldest = model.first().map(|n| Timestamp::from_micros((*n).into()));
                prop_assert_eq!(shelf.oldest(), oldest);
            }
            prop_assert_eq!(shelf.clear(), model);
            prop_assert_eq!(shelf.len(), 0);
        }
    }
}
