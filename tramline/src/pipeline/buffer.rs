//! What one run of a handler publishes, until it is known how the run ends.

use crate::Failure;
use parking_lot::Mutex;
use std::sync::Arc;
use tramline_core::transport::Outgoing;

/// The messages of one run; `None` once it has ended. Clones are the same buffer.
#[derive(Clone, Debug)]
pub(crate) struct Buffer(Arc<Mutex<Option<Vec<Outgoing>>>>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// # Errors
    /// The run has ended: what came now would never leave.
    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), Failure> {
        match &mut *self.0.lock() {
            Some(messages) => messages.push(outgoing),
            None => {
                let text = format!("failed to publish to {}: the run has ended", outgoing.to);
                return Err(Failure::permanent(text));
            }
        }
        Ok(())
    }

    /// Ends the run: what it has published, and nothing more from now on.
    pub(crate) fn close(&self) -> Vec<Outgoing> {
        self.0.lock().take().unwrap_or_default()
    }

    /// A buffer for the next run; whoever still holds the old one is refused.
    pub(crate) fn renew(&mut self) {
        self.close();
        if Arc::strong_count(&self.0) > 1 {
            *self = Self::new();
        } else {
            *self.0.lock() = Some(Vec::new());
        }
    }
}
