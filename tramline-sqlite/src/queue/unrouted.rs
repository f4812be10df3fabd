//! Events that were published in a transaction and that no queue has subscribed to.

use parking_lot::Mutex;
use std::collections::BTreeSet;

/// What was warned of.
#[derive(Default)]
pub(crate) struct Unrouted(Mutex<BTreeSet<String>>);

impl Unrouted {
    /// Warns of each of `events` once.
    pub(crate) fn warn(&self, events: BTreeSet<String>) {
        const KINDS_MAX: usize = 1000;
        let mut warned = self.0.lock();
        for to in events {
            if warned.len() < KINDS_MAX && warned.insert(to.clone()) {
                tracing::warn!(to, "published in a transaction, and no queue has subscribed to it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_remembered_once() {
        let unrouted = Unrouted::default();
        for _ in 0..2 {
            unrouted.warn(BTreeSet::from(["topic orders (orders.placed)".to_owned()]));
        }
        assert_eq!(unrouted.0.lock().len(), 1);
    }
}
