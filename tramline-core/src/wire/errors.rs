//! The header with the last failures.

use super::value::{self, Why};
use crate::cut::cut;
use crate::dead::{FailureNote, History};
use crate::headers::HeaderValue;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What the header may take as text. Brokers allow a message some tens of kilobytes of headers.
pub(super) const ERRORS_BYTES_MAX: usize = 8 * 1024;

/// A note as it is written. The time is in milliseconds, like all times in our headers.
#[derive(Serialize, Deserialize)]
struct Note<'a> {
    at: i64,
    failure: u32,
    error: Cow<'a, str>,
}

/// As many of the last notes as fit, the very last in any case; `None` for no failure.
pub(super) fn write(history: &History) -> Option<String> {
    let (last, earlier) = history.notes().split_last()?;
    let mut kept = vec![fitting(last)];
    let mut bytes = "[]".len() + kept[0].len();
    for note in earlier.iter().rev() {
        let json = json(note, &note.error);
        bytes += ",".len() + json.len();
        if bytes > ERRORS_BYTES_MAX {
            break;
        }
        kept.push(json);
    }
    kept.reverse();
    Some(format!("[{}]", kept.join(",")))
}

/// The note, with its error cut if escapes make it too long to stand even alone.
fn fitting(note: &FailureNote) -> String {
    // JSON writes a byte in at most six; the seventh part is for the rest of the note.
    const ERROR_BYTES_MAX: usize = ERRORS_BYTES_MAX / 7;
    let whole = json(note, &note.error);
    if "[]".len() + whole.len() <= ERRORS_BYTES_MAX {
        return whole;
    }
    let mut error = note.error.clone();
    cut(&mut error, ERROR_BYTES_MAX);
    json(note, &error)
}

fn json(note: &FailureNote, error: &str) -> String {
    let note = Note { at: value::millis(note.at), failure: note.failure, error: error.into() };
    serde_json::to_string(&note).expect("numbers and text are JSON")
}

/// The notes in a header. Others may have written it, so it is bounded anew.
pub(super) fn read(header: &HeaderValue) -> Result<History, Why> {
    const READ_BYTES_MAX: usize = 8 * ERRORS_BYTES_MAX;
    let text = value::text(header)?;
    if text.len() > READ_BYTES_MAX {
        return Err(format!("{} bytes are more than {READ_BYTES_MAX}", text.len()));
    }
    let notes: Vec<Note<'_>> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut history = History::new();
    for Note { at, failure, error } in notes {
        let at = value::time(&HeaderValue::Int(at))?;
        history.push(FailureNote { at, failure, error: error.into_owned() });
    }
    Ok(history)
}
