//! Dead letters: messages that were not handled, kept with the reason why.

use crate::clock::Timestamp;
use crate::cut::cut;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a message is in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Reason {
    /// A handler said that no retry can help.
    Permanent,
    /// The retry policy came to its end.
    Exhausted,
    /// The body cannot be read as the type that its name promises.
    Undecodable,
    /// Nobody knew its type or version for longer than the endpoint waits.
    Unhandled,
    /// It killed the process that handled it, more than once.
    Poison,
    /// It lost its meaning before it was handled.
    Expired,
    /// The sender's idempotency key came again with another body.
    KeyReused,
    /// Somebody cancelled its handler.
    Cancelled,
    /// The broker killed it, or a handler gave a reason of its own.
    Other(String),
}

impl Reason {
    /// The word that travels in the header `tramline_dead_reason`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Permanent => "permanent",
            Self::Exhausted => "exhausted",
            Self::Undecodable => "undecodable",
            Self::Unhandled => "unhandled",
            Self::Poison => "poison",
            Self::Expired => "expired",
            Self::KeyReused => "key reused",
            Self::Cancelled => "cancelled",
            Self::Other(reason) => reason,
        }
    }
}

impl From<String> for Reason {
    fn from(word: String) -> Self {
        let known = [
            Self::Permanent,
            Self::Exhausted,
            Self::Undecodable,
            Self::Unhandled,
            Self::Poison,
            Self::Expired,
            Self::KeyReused,
            Self::Cancelled,
        ];
        known.into_iter().find(|reason| reason.as_str() == word).unwrap_or(Self::Other(word))
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.as_str().to_owned()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure of one delivery, as it is kept with the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNote {
    /// When it failed.
    pub at: Timestamp,
    /// Which failure of this message it was, from 1.
    pub failure: u32,
    /// The error and its causes in one line, at most 4 KiB.
    pub error: String,
}

/// The notes of a message's failures: the last ones, at most 128, together at most 8 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<FailureNote>);

impl History {
    /// What the errors of all kept notes together may take.
    pub const BYTES_MAX: usize = 8 * 1024;

    /// No failure yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The notes, oldest first. When early ones were dropped, the first is still the first kept.
    pub fn notes(&self) -> &[FailureNote] {
        &self.0
    }

    /// How many notes are kept, however short their errors are.
    pub const NOTES_MAX: usize = 128;

    /// Adds a note and drops the oldest ones beyond the bounds, but never the new one.
    pub fn push(&mut self, mut note: FailureNote) {
        const NOTE_BYTES_MAX: usize = 4 * 1024;
        cut(&mut note.error, NOTE_BYTES_MAX);
        self.0.push(note);
        let mut bytes: usize = self.0.iter().map(|note| note.error.len()).sum();
        let mut dropped = self.0.len().saturating_sub(Self::NOTES_MAX);
        bytes -= self.0[..dropped].iter().map(|note| note.error.len()).sum::<usize>();
        while bytes > Self::BYTES_MAX {
            bytes -= self.0[dropped].error.len();
            dropped += 1;
        }
        self.0.drain(..dropped);
    }
}

/// What a dead-letter queue says about one message beside its envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathRecord {
    /// Why it died.
    pub reason: Reason,
    /// How often handling it failed.
    pub failures: u32,
    /// Its last failures.
    pub history: History,
    /// When handling it failed first.
    pub first_failed_at: Option<Timestamp>,
    /// When it died.
    pub failed_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(failure: u32, error: String) -> FailureNote {
        FailureNote { at: Timestamp::from_millis(i64::from(failure)), failure, error }
    }

    #[test]
    fn a_history_keeps_the_last_failures_within_8_kib() {
        let mut history = History::new();
        for failure in 1..=100 {
            history.push(note(failure, "e".repeat(1000)));
        }
        let kept: Vec<u32> = history.notes().iter().map(|note| note.failure).collect();
        assert_eq!(kept, (93..=100).collect::<Vec<_>>());
    }

    #[test]
    fn a_history_of_empty_errors_does_not_grow_for_ever() {
        let mut history = History::new();
        for failure in 1..=1000 {
            history.push(note(failure, String::new()));
        }
        let kept = history.notes();
        assert_eq!((kept.len(), kept[0].failure), (128, 873));
    }

    #[test]
    fn a_single_long_note_is_cut_to_4_kib() {
        let mut history = History::new();
        history.push(note(1, "e".repeat(100_000)));
        assert_eq!(history.notes()[0].error.len(), 4096);
    }

    #[test]
    fn reasons_survive_the_wire() {
        for word in ["permanent", "key reused", "cancelled", "unhandled", "maxlen"] {
            assert_eq!(String::from(Reason::from(word.to_owned())), word);
        }
        assert_eq!(Reason::from("poison".to_owned()), Reason::Poison);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What is dropped had to be: with one note more, the history would be over a bound.
        #[test]
        fn a_history_is_the_longest_tail_within_its_bounds(
            lengths in prop::collection::vec(prop_oneof![0_usize..9, 0_usize..5000], 0..200),
        ) {
            let mut history = History::new();
            let mut all: Vec<FailureNote> = Vec::new();
            for (length, failure) in lengths.into_iter().zip(1..) {
                all.push(note(failure, "e".repeat(length.min(4096 - "…".len()))));
                history.push(note(failure, "e".repeat(length.min(4096 - "…".len()))));
                let fits = |tail: &[FailureNote]| {
                    tail.len() <= 128 && tail.iter().map(|note| note.error.len()).sum::<usize>() <= 8192
                };
                let longest = (0..=all.len()).map(|from| &all[from..]).find(|tail| fits(tail));
                prop_assert_eq!(Some(history.notes()), longest);
            }
        }
    }
}
