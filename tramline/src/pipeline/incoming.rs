//! A message on its way through the pipeline.

use crate::{Failure, MessageId};
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Composer;
use tramline_core::dead::{FailureNote, History};
use tramline_core::envelope::Envelope;
use tramline_core::store::Sighting;
use tramline_core::transport::Ticket;

/// One message of a context.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) id: MessageId,
    /// All failures so far: those recorded and those of this delivery.
    pub(crate) failures: u32,
    /// Those of this delivery that were retried in place.
    pub(crate) notes: History,
    pub(crate) ticket: Option<Ticket>,
    /// Set when the transaction must write an inbox row.
    pub(crate) sighting: Option<Sighting>,
}

impl Incoming {
    /// What stands in a message's place where none is at work: it has an id, and nothing else.
    pub(crate) fn of_nobody(composer: &Composer) -> Self {
        Self {
            envelope: Arc::default(),
            id: MessageId::new(composer.clock.now(), composer.entropy.bits()),
            failures: 0,
            notes: History::new(),
            ticket: None,
            sighting: None,
        }
    }

    /// Counts a failure after which it is handled again in this delivery.
    pub(crate) fn charge(&mut self, failure: &Failure, at: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.notes.push(FailureNote { at, failure: self.failures, error: failure.chain() });
    }
}
