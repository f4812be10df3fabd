//! What the bus has recorded about a message.

use crate::clock::Timestamp;
use crate::dead::{FailureNote, History, Reason};
use crate::settlement::Marks;
use crate::transport::CopyOf;
use crate::{Error, ErrorKind, Result};

/// What stands in a message's columns beside the message.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// It did not come straight through a topic: a copy, a retry or a redrive.
    pub is_direct: bool,
    /// The total of failures.
    pub failures: u32,
    /// What else is known.
    pub marks: Marks,
    /// When it failed first.
    pub first_failed_at: Option<Timestamp>,
    /// Its last failures as JSON; nothing if there are none.
    pub history: Option<String>,
    /// Why it is dead.
    pub reason: Option<Reason>,
}

impl Recorded {
    /// What a copy brings along.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`]: its history cannot be written as JSON.
    pub fn of_copy(copy: &CopyOf) -> Result<Self> {
        let (failures, history, marks, reason) = match copy {
            CopyOf::Retry { failures, history, marks } => (*failures, history, *marks, None),
            CopyOf::DeadLetter { reason, failures, history } => {
                (*failures, history, Marks::default(), Some(reason.clone()))
            }
            CopyOf::Redrive => return Ok(Self { is_direct: true, ..Self::default() }),
        };
        Ok(Self {
            is_direct: true,
            failures,
            marks,
            first_failed_at: history.notes().first().map(|note| note.at),
            history: write_history(history)?,
            reason,
        })
    }
}

/// What a failed delivery adds to what is known about its message.
#[derive(Clone, Debug)]
pub struct Charge {
    /// The new total of failures.
    pub failures: u32,
    /// What else is known from now on.
    pub marks: Marks,
    /// When it failed first, if it had not failed before.
    pub first_failed_at: Option<Timestamp>,
    /// Its last failures as JSON; nothing if there are none.
    pub history: Option<String>,
}

impl Charge {
    /// `notes` on top of the `history` that is known already.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`]: the history cannot be written as JSON.
    pub fn new(
        history: &History,
        failures: u32,
        notes: Vec<FailureNote>,
        marks: Marks,
    ) -> Result<Self> {
        let mut history = history.clone();
        let first_failed_at = notes.first().map(|note| note.at);
        notes.into_iter().for_each(|note| history.push(note));
        Ok(Self { failures, marks, first_failed_at, history: write_history(&history)? })
    }
}

/// A history as JSON; nothing for an empty one.
///
/// # Errors
/// [`ErrorKind::Refused`]: it cannot be written as JSON.
pub fn write_history(history: &History) -> Result<Option<String>> {
    if history.notes().is_empty() {
        return Ok(None);
    }
    serde_json::to_string(history)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Refused, "write a history as JSON").because(error))
}

/// What [`write_history`] has written.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: it is something else. The message can be handled without it.
pub fn read_history(text: Option<&str>) -> Result<History> {
    let Some(text) = text else { return Ok(History::new()) };
    serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "read a message's history").because(error))
}
