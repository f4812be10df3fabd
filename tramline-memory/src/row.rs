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
    /// How often it was handed out without anybody hearing how that ended.
    pub(crate) deliveries: u32,
    /// How often it was handed out at all.
    pub(crate) handed_out: u32,
    /// It was published inside a transaction of this memory.
    pub(crate) born_here: bool,
    /// Since when it waits to be taken.
    pub(crate) since: Timestamp,
}

impl Row {
    /// A message that was not handed out yet, from a sender.
    pub(crate) fn new(envelope: Arc<Envelope>, record: Record, since: Timestamp) -> Self {
        Self { envelope, record, deliveries: 0, handed_out: 0, born_here: false, since }
    }

    pub(crate) fn hand_out(&mut self) {
        self.deliveries += 1;
        self.handed_out += 1;
    }

    /// The end of the delivery was heard: it was none.
    pub(crate) fn give_back(&mut self) {
        self.deliveries = self.deliveries.saturating_sub(1);
    }

    /// When it died; what was sent to a dead-letter queue as an ordinary message, when it came.
    pub(crate) fn died_at(&self) -> Timestamp {
        self.record.died_at().unwrap_or(self.since)
    }

    /// Counts a time that it was handled alone.
    pub(crate) fn count_trial(&mut self) {
        let marks = self.record.marks();
        self.record.mark(Marks { trials: marks.trials + 1, ..marks });
    }

    /// The message as it was before anything went wrong, to be handled again.
    pub(crate) fn redriven(mut self, now: Timestamp) -> Self {
        if self.envelope.via.is_some() || self.envelope.expires_at.is_some() {
            let envelope = Arc::make_mut(&mut self.envelope);
            (envelope.via, envelope.expires_at) = (None, None);
        }
        Self { record: Record::default(), deliveries: 0, handed_out: 0, since: now, ..self }
    }
}

/// What the bus has recorded about a message. Most never have a record, so they do not carry its
/// size through every queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Option<Box<Noted>>);

#[derive(Clone, Debug, Default)]
struct Noted {
    failures: u32,
    history: History,
    marks: Marks,
    first_failed_at: Option<Timestamp>,
    death: Option<(Reason, Timestamp)>,
}

impl Record {
    /// What an engine recorded in a copy that it sends because it may not settle natively.
    pub(crate) fn of_copy(copy: &CopyOf, now: Timestamp) -> Self {
        let mut record = Self::default();
        match copy {
            CopyOf::Redrive => {}
            CopyOf::Retry { failures, history, marks } => {
                record.copy_failures(*failures, history);
                record.mark(*marks);
            }
            CopyOf::DeadLetter { reason, failures, history } => {
                record.copy_failures(*failures, history);
                record.bury(reason.clone(), now);
            }
        }
        record
    }

    /// Adds failures; without notes nothing is charged, and the total is what it was.
    pub(crate) fn charge(&mut self, failures: u32, notes: Vec<FailureNote>) {
        let noted = self.0.get_or_insert_default();
        noted.failures = failures;
        for note in notes {
            noted.first_failed_at.get_or_insert(note.at);
            noted.history.push(note);
        }
    }

    pub(crate) fn mark(&mut self, marks: Marks) {
        self.0.get_or_insert_default().marks = marks;
    }

    pub(crate) fn bury(&mut self, reason: Reason, now: Timestamp) {
        self.0.get_or_insert_default().death = Some((reason, now));
    }

    pub(crate) fn failures(&self) -> u32 {
        self.0.as_ref().map_or(0, |noted| noted.failures)
    }

    pub(crate) fn history(&self) -> &[FailureNote] {
        self.0.as_ref().map_or(&[], |noted| noted.history.notes())
    }

    pub(crate) fn marks(&self) -> Marks {
        self.0.as_ref().map_or_else(Marks::default, |noted| noted.marks)
    }

    fn died_at(&self) -> Option<Timestamp> {
        self.0.as_ref()?.death.as_ref().map(|(_, at)| *at)
    }

    pub(crate) fn death(&self) -> Option<DeathRecord> {
        let noted = self.0.as_ref()?;
        let (reason, failed_at) = noted.death.clone()?;
        Some(DeathRecord {
            reason,
            failures: noted.failures,
            history: noted.history.clone(),
            first_failed_at: noted.first_failed_at,
            failed_at,
        })
    }

    fn copy_failures(&mut self, failures: u32, history: &History) {
        let noted = self.0.get_or_insert_default();
        noted.failures = failures;
        noted.first_failed_at = history.notes().first().map(|note| note.at);
        noted.history = history.clone();
    }
}
