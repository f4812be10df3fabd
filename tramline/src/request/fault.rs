//! What a requester learns of a responder that has failed: what kind of failure it is and the words that are
//! meant for him, nothing from inside of the responder.

use crate::{Failure, Message};
use serde::{Deserialize, Serialize};
use std::fmt;
use tramline_core::dead::Reason;
use tramline_core::failure::{Rejected, Verdict};

/// A responder has failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFailure {
    /// Which kind of failure.
    pub kind: FailureKind,
    /// In words, for whoever has asked.
    pub message: String,
}

/// What kind of failure a responder has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The responder says that no retry can help. The message is what it has said by [`Failure::rejected`]; of
    /// another permanent failure nothing is told.
    Rejected,
    /// The responder has failed or panicked, and does not try again. Its log says why.
    Failed,
    /// The request could not be read, or is of a type or version that nobody there knows.
    Unreadable,
    /// A kind that this program does not know: a newer one has answered.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for RemoteFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FailureKind::Rejected => "was rejected",
            FailureKind::Failed | FailureKind::Unknown => "failed",
            FailureKind::Unreadable => "was not understood",
        };
        write!(f, "{kind}: {}", self.message)
    }
}

/// The reply that says so.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fault(pub(crate) RemoteFailure);

impl Message for Fault {
    const NAME: &'static str = "tramline.fault";
}

/// What the requester is told of `failure`.
pub(crate) fn fault_of(failure: &Failure) -> RemoteFailure {
    match failure.verdict() {
        Verdict::DeadLetter(Reason::Permanent) => {
            // Other texts may name hosts, tables and passwords.
            let words = failure.find::<Rejected>().map(ToString::to_string);
            let message = words.unwrap_or_else(|| "its log says why".to_owned());
            RemoteFailure { kind: FailureKind::Rejected, message }
        }
        Verdict::DeadLetter(Reason::Undecodable) | Verdict::Unhandled => unreadable(),
        _ => failed(),
    }
}

pub(crate) fn failed() -> RemoteFailure {
    RemoteFailure {
        kind: FailureKind::Failed,
        message: "the responder has failed, and its log says why".to_owned(),
    }
}

pub(crate) fn unreadable() -> RemoteFailure {
    RemoteFailure {
        kind: FailureKind::Unreadable,
        message: "the responder knows no such request, or no such version of it".to_owned(),
    }
}
