//! One message in a queue, and what the bus has recorded about it.

use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{DeathRecord, FailureNote, History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::settlement::Marks;
use tramline_core::transport::CopyOf;

/// One message in one queue.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Shared by all copies of a fan-out.
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) record: Record,
    /// How often it was handed out.
    pub(crate) deliveries: u32,
    /// It was published inside a transaction of this memory.
    pub(crate) born_here: bool,
    /// Since when it waits to be taken.
    pub(crate) since: Timestamp,
}

impl Row {
    /// Forgets how the message came, once it comes again: filters are for first arrivals only.
    pub(crate) fn forget_via(&mut self) {
        if self.envelope.via.is_some() {
            Arc::make_mut(&mut self.envelope).via = None;
        }
    }

    /// The message as it was before anything went wrong, to be handled again.
    pub(crate) fn redriven(mut self, now: Timestamp) -> Self {
        self.forget_via();
        if self.envelope.expires_at.is_some() {
            Arc::make_mut(&mut self.envelope).expires_at = None;
        }
        Self { record: Record::default(), deliveries: 0, since: now, ..self }
    }
}

/// What the bus has recorded about a message; nothing as long as nothing went wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) failures: u32,
    pub(crate) history: History,
    pub(crate) marks: Marks,
    first_failed_at: Option<Timestamp>,
    death: Option<(Reason, Timestamp)>,
}

impl Record {
    /// What an engine recorded in a copy that it sends because it may not settle natively.
    pub(crate) fn of_copy(copy: &CopyOf, now: Timestamp) -> Self {
        let (failures, history) = match copy {
            CopyOf::Redrive => return Self::default(),
            CopyOf::Retry { failures, history, .. }
            | CopyOf::DeadLetter { failures, history, .. } => (*failures, history.clone()),
        };
        let first_failed_at = history.notes().first().map(|note| note.at);
        let record = Self { failures, history, first_failed_at, ..Self::default() };
        match copy {
            CopyOf::Retry { marks, .. } => Self { marks: *marks, ..record },
            CopyOf::DeadLetter { reason, .. } => record.dead(reason.clone(), now),
            CopyOf::Redrive => record,
        }
    }

    /// Adds a failure; without a note nothing is charged, and the total is what it was.
    pub(crate) fn charge(&mut self, failures: u32, note: Option<FailureNote>) {
        self.failures = failures;
        if let Some(note) = note {
            self.first_failed_at.get_or_insert(note.at);
            self.history.push(note);
        }
    }

    pub(crate) fn dead(self, reason: Reason, now: Timestamp) -> Self {
        Self { death: Some((reason, now)), ..self }
    }

    pub(crate) fn death(&self) -> Option<DeathRecord> {
        let (reason, failed_at) = self.death.clone()?;
        Some(DeathRecord {
            reason,
            failures: self.failures,
            history: self.history.clone(),
            first_failed_at: self.first_failed_at,
            failed_at,
        })
    }
}
