//! Events that nobody had subscribed to: worth to be told, and an error by choice.

use crate::request::count_late;
use parking_lot::Mutex;
use std::collections::HashSet;
use tramline_core::transport::Destination;
use tramline_core::{Error, ErrorKind, Result};

/// Events that no queue had subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Unrouted {
    /// Whoever publishes one outside of handlers is refused.
    is_error: bool,
    warned: Mutex<HashSet<String>>,
}

impl Unrouted {
    /// By choice an error for whoever waits for the answer.
    pub(crate) fn new(is_error: bool) -> Self {
        Self { is_error, ..Self::default() }
    }

    /// Counts one, for a caller who hears the answer.
    ///
    /// # Errors
    /// Subscribers are required, and nobody has got it.
    pub(crate) fn answer(&self, to: &Destination) -> Result<()> {
        self.count(to);
        if self.is_error && !matches!(to, Destination::Address(_)) {
            let error = Error::new(ErrorKind::NotFound, format!("publish to {to}"));
            return Err(error.because("no queue has subscribed to it"));
        }
        Ok(())
    }

    /// Counts one, and warns of each kind once. Who waited for an answer may be gone: that is no event.
    pub(crate) fn count(&self, to: &Destination) {
        const KINDS_MAX: usize = 1000;
        if let Destination::Address(_) = to {
            return count_late();
        }
        metrics::counter!("tramline_unrouted_total").increment(1);
        let kind = to.to_string();
        let mut warned = self.warned.lock();
        if warned.len() < KINDS_MAX && !warned.contains(&kind) {
            tracing::warn!(to = %kind, "published, and no queue has subscribed to it");
            warned.insert(kind);
        }
    }
}
