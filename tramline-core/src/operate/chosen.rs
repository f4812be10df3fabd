//! Which dead letters an operation is about, for drivers.

use super::{Peeked, Selection};
use crate::dead::DeathRecord;
use crate::envelope::Envelope;
use crate::filter::{Facts, Matcher};
use crate::id::MessageId;
use crate::name::QueueName;
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// A [`Selection`], checked and ready to look at dead letters.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// All of them.
    All,
    /// Those with these ids.
    Ids(HashSet<MessageId>),
    /// Those that a filter lets through.
    Matching(Matcher),
}

impl Chosen {
    /// Checks what is said about the dead letters of `queue`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] for a filter that is none.
    pub fn new(queue: &QueueName, selection: Selection) -> Result<Self> {
        Ok(match selection {
            Selection::All => Self::All,
            Selection::Ids(ids) => Self::Ids(ids.into_iter().collect()),
            Selection::Matching(filter) => Self::Matching(filter.compile().map_err(|error| {
                let doing = format!("choose dead letters of queue {queue}");
                Error::new(ErrorKind::Misconfigured, doing).because(error)
            })?),
        })
    }

    /// Whether `dead` is among them.
    pub fn holds(&self, dead: &Peeked) -> bool {
        self.holds_message(&dead.envelope, dead.death.as_ref())
    }

    /// Whether the dead letter `envelope` is among them. A filter sees why it died as the headers
    /// `reason` and `error`.
    pub fn holds_message(&self, envelope: &Envelope, death: Option<&DeathRecord>) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => envelope.id.as_ref().is_some_and(|id| ids.contains(id)),
            Self::Matching(matcher) => {
                let mut headers = envelope.headers.clone();
                if let Some(death) = death {
                    headers.insert("reason", death.reason.as_str());
                    if let Some(note) = death.history.notes().last() {
                        headers.insert("error", note.error.as_str());
                    }
                }
                let name = envelope.name.as_deref().unwrap_or_default();
                let subject = envelope.via.as_ref().map_or(name, |via| &via.subject);
                matcher.matches(&Facts::new(subject, &headers, &envelope.body))
            }
        }
    }
}
