//! What could not be read is logged, once for each kind.

use std::borrow::Cow;
use std::collections::HashSet;
use tramline_core::name::QueueRef;
use tramline_core::wire::Received;

/// The headers and properties that were complained about, so that a million messages of the same
/// sender make one line.
#[derive(Debug, Default)]
pub(super) struct Complaints(HashSet<Cow<'static, str>>);

impl Complaints {
    /// Logs the complaints about `received` that are new.
    pub(super) fn log(&mut self, queue: &QueueRef, received: &Received) {
        /// A sender may give every header a name of its own.
        const KINDS_MAX: usize = 100;
        for complaint in &received.complaints {
            if self.0.len() < KINDS_MAX && self.0.insert(complaint.of.clone()) {
                let id = received.envelope.id.as_ref().map(ToString::to_string);
                tracing::warn!(%queue, id, %complaint, "a message cannot be read as a whole");
            }
        }
    }
}
