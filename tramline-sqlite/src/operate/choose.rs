//! Which dead letters an operation is about.

use std::collections::HashSet;
use tramline_core::filter::{Facts, Matcher};
use tramline_core::id::MessageId;
use tramline_core::name::QueueName;
use tramline_core::operate::{Peeked, Selection};
use tramline_core::{Error, ErrorKind, Result};

/// A selection, ready to look at dead letters.
#[derive(Clone)]
pub(super) enum Chosen {
    All,
    Ids(HashSet<MessageId>),
    Matching(Matcher),
}

impl Chosen {
    pub(super) fn new(queue: &QueueName, selection: Selection) -> Result<Self> {
        Ok(match selection {
            Selection::All => Self::All,
            Selection::Ids(ids) => Self::Ids(ids.into_iter().collect()),
            Selection::Matching(filter) => Self::Matching(filter.compile().map_err(|error| {
                let doing = format!("choose dead letters of queue {queue}");
                Error::new(ErrorKind::Misconfigured, doing).because(error)
            })?),
        })
    }

    pub(super) fn holds(&self, dead: &Peeked) -> bool {
        let envelope = &dead.envelope;
        match self {
            Self::All => true,
            Self::Ids(ids) => envelope.id.as_ref().is_some_and(|id| ids.contains(id)),
            Self::Matching(matcher) => {
                let mut headers = envelope.headers.clone();
                if let Some(death) = &dead.death {
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
