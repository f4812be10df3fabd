//! Which handlers of an event have failed.

use crate::Failure;
use std::fmt;
use tramline_core::failure::Verdict;

/// The handlers of one event that have failed: the first, or all where the event is declared
/// [`run_all`](super::Event::run_all). Found in the failure by [`Failure::find`].
#[derive(Debug)]
pub struct EventFailures {
    event: &'static str,
    /// At least one.
    failures: Vec<EventFailure>,
    /// In words. Written once: a failure may hold failures of events in turn, many deep, and each would ask
    /// all below it again.
    text: String,
}

/// A handler of an event that has failed.
#[derive(Debug)]
pub struct EventFailure {
    /// The handler's name in Rust.
    pub handler: &'static str,
    /// Why.
    pub failure: Failure,
}

impl EventFailures {
    /// The event's name in Rust.
    pub fn event(&self) -> &'static str {
        self.event
    }

    /// Who has failed, in the order in which they were declared.
    pub fn failures(&self) -> &[EventFailure] {
        &self.failures
    }

    /// What it means for the caller: no retry helps if it does not help one of them.
    pub(super) fn failure(event: &'static str, failures: Vec<EventFailure>) -> Failure {
        let verdicts = failures.iter().map(|failed| failed.failure.verdict());
        let dead = verdicts.into_iter().find_map(|verdict| match verdict {
            Verdict::DeadLetter(reason) => Some(reason.clone()),
            _ => None,
        });
        let mut text = format!("failed to handle the event {event}");
        for EventFailure { handler, failure } in &failures {
            text.push_str(&format!("; {handler}: {failure}"));
        }
        let failures = Self { event, failures, text };
        match dead {
            Some(reason) => Failure::dead_letter(reason, failures),
            None => Failure::retryable(failures),
        }
    }
}

impl fmt::Display for EventFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The cause is the first of them; their text is part of this one's.
impl std::error::Error for EventFailures {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failures.first().map(|failed| failed.failure.error())
    }
}
