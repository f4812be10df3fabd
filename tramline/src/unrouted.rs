//! Events that nobody had subscribed to: no error, but worth to be told.

use parking_lot::Mutex;
use std::collections::HashSet;
use tramline_core::transport::Destination;

/// Events that no queue had subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Unrouted(Mutex<HashSet<String>>);

impl Unrouted {
    /// Counts one, and warns of each kind once.
    pub(crate) fn count(&self, to: &Destination) {
        const KINDS_MAX: usize = 1000;
        metrics::counter!("tramline_unrouted_total").increment(1);
        let kind = to.to_string();
        let mut warned = self.0.lock();
        if warned.len() < KINDS_MAX && !warned.contains(&kind) {
            tracing::warn!(to = %kind, "published, and no queue has subscribed to it");
            warned.insert(kind);
        }
    }
}
