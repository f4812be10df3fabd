//! Events that were published in a transaction and that no queue has subscribed to.

use parking_lot::Mutex;
use std::collections::BTreeSet;

/// What was warned of.
#[derive(Default)]
pub struct Unrouted(Mutex<BTreeSet<String>>);

impl Unrouted {
    /// Those of `events` of which nobody was warned yet. Each is answered once, and at most 1000 kinds.
    #[must_use = "the driver warns of them, under its own name"]
    pub fn newly(&self, events: BTreeSet<String>) -> Vec<String> {
        const KINDS_MAX: usize = 1000;
        let mut warned = self.0.lock();
        let newly =
            events.into_iter().filter(|to| warned.len() < KINDS_MAX && warned.insert(to.clone()));
        newly.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_and_too_many_are_not() {
        let unrouted = Unrouted::default();
        let placed = || BTreeSet::from(["topic orders (orders.placed)".to_owned()]);
        assert_eq!(unrouted.newly(placed()), ["topic orders (orders.placed)"]);
        assert_eq!(unrouted.newly(placed()), [""; 0]);
        let many = (0..2000).map(|n| n.to_string()).collect();
        assert_eq!(unrouted.newly(many).len(), 999);
    }
}
