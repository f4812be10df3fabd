//! Headers become metadata again.

use super::native::Native;
use super::record::{Death, Record};
use super::value::{self, Why};
use super::{aliases, errors, names};
use crate::clock::Timestamp;
use crate::cut::cut;
use crate::dead::Reason;
use crate::envelope::{Envelope, Text, Via};
use crate::headers::{HeaderValue, Headers};
use crate::id::{BadMessageId, MessageId};
use crate::name::{QueueName, TopicName};
use crate::settlement::Marks;
use bytes::Bytes;
use std::{borrow::Cow, fmt};

/// A message as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The message. Its headers are the user's and those of foreign senders.
    pub envelope: Envelope,
    /// What the bus has recorded.
    pub record: Record,
    /// What could not be read and was left out, for the driver to log.
    pub complaints: Vec<Complaint>,
}

/// A value that could not be read and counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The header, or the native property in plain words.
    pub of: Cow<'static, str>,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left out {}: {}", self.of, self.why)
    }
}

/// The message that a broker delivered with these headers and with `native` beside them.
///
/// Never fails: our headers count first, then the broker's own properties, then the aliases of
/// [other buses](super). What cannot be read is left out with a complaint, and the rest is kept.
/// Our headers are taken out; all others stay for the handler.
///
/// The failures are those of `tramline_failures`. Other tools write and count `x-retry-count` in
/// their own ways: alone it means nothing here and stays a header like any other.
pub fn read(native: Native, headers: Headers, body: Bytes) -> Received {
    let mut reader = Reader { headers, complaints: Vec::new() };
    let mut envelope = reader.envelope(native);
    let record = reader.record();
    // Means something to `typed` only, which a broker with typed headers never asks.
    reader.headers.remove(names::TYPES);
    envelope.headers = reader.headers;
    envelope.body = body;
    Received { envelope, record, complaints: reader.complaints }
}

struct Reader {
    headers: Headers,
    complaints: Vec<Complaint>,
}

impl Reader {
    fn envelope(&mut self, native: Native) -> Envelope {
        let foreign = aliases::read(&self.headers, &mut self.complaints);
        let native_id = native.id.and_then(|text| id("the native id", &text, &mut self.complaints));
        let name = self.text(names::MESSAGE).or(native.name).or(foreign.name);
        let content_type = self.text(names::CONTENT_TYPE).or(native.content_type);
        let topic = self.text(names::TOPIC).map(TopicName::foreign).or(native.topic);
        let subject = self.text(names::SUBJECT).or(native.subject);
        Envelope {
            id: self.id(names::ID).or(native_id).or(foreign.id),
            version: self.int(names::VERSION).unwrap_or(1).max(1),
            content_type: content_type.or(foreign.content_type).map(Text::Owned),
            sent_at: self.time(names::SENT_AT).or(native.sent_at).or(foreign.sent_at),
            correlation_id: self
                .text(names::CORRELATION_ID)
                .or(native.correlation_id)
                .or(foreign.correlation_id),
            causation_id: self.id(names::CAUSATION_ID),
            conversation_id: self.id(names::CONVERSATION_ID).or(foreign.conversation_id),
            reply_to: self.text(names::REPLY_TO).or(native.reply_to),
            key: self.text(names::KEY).or(native.key).or(foreign.key),
            idempotency_key: self.text(names::IDEMPOTENCY_KEY),
            expires_at: self.time(names::EXPIRES_AT).or(native.expires_at),
            priority: self.int(names::PRIORITY).or(native.priority),
            traceparent: self.text(names::TRACEPARENT).or(foreign.traceparent),
            via: topic.map(|topic| {
                let subject = subject.as_deref().or(name.as_deref()).unwrap_or_default();
                Via { topic, subject: Text::Owned(subject.to_owned()) }
            }),
            name: name.map(Text::Owned),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    fn record(&mut self) -> Record {
        if self.headers.get(names::FAILURES).is_some() {
            self.headers.remove(names::RETRY_COUNT);
        }
        let history = self.take(names::ERRORS, errors::read).unwrap_or_default();
        let last_failed_at = history.notes().last().map(|note| note.at);
        Record {
            failures: self.int(names::FAILURES).unwrap_or(0),
            marks: Marks {
                trials: self.int(names::TRIALS).unwrap_or(0),
                unhandled_since: self.time(names::UNHANDLED_SINCE),
            },
            origin: self.text(names::ORIGIN).map(QueueName::foreign),
            death: self.death(last_failed_at),
            history,
        }
    }

    fn death(&mut self, last_failed_at: Option<Timestamp>) -> Option<Death> {
        let first_failed_at = self.time(names::FIRST_FAILED_AT);
        let failed_at = self.time(names::FAILED_AT);
        let reason = Reason::from(self.text(names::DEAD_REASON)?);
        // The reason matters more than the moment, which is missing only if somebody took it away.
        let failed_at = failed_at.or(last_failed_at).unwrap_or_default();
        Some(Death { reason, first_failed_at, failed_at })
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, value::text)
    }

    fn int<T: TryFrom<i64>>(&mut self, name: &'static str) -> Option<T> {
        self.take(name, value::int)
    }

    fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        self.take(name, value::time)
    }

    fn id(&mut self, name: &'static str) -> Option<MessageId> {
        let text = self.text(name)?;
        id(name, &text, &mut self.complaints)
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&HeaderValue) -> Result<T, Why>,
    ) -> Option<T> {
        let header = self.headers.remove(name)?;
        or_complain(name, read(&header), &mut self.complaints)
    }
}

/// The id in `text`. Clients that cannot say "none" say "", which is nothing to complain about.
pub(super) fn id(
    of: &'static str,
    text: &str,
    complaints: &mut Vec<Complaint>,
) -> Option<MessageId> {
    match text.parse() {
        Err(BadMessageId::Empty) => None,
        parsed => or_complain(of, parsed.map_err(|error| error.to_string()), complaints),
    }
}

pub(super) fn or_complain<T>(
    of: impl Into<Cow<'static, str>>,
    read: Result<T, Why>,
    complaints: &mut Vec<Complaint>,
) -> Option<T> {
    /// An error of a parser may hold all of what it could not read, which is too much for a log.
    const WHY_BYTES_MAX: usize = 256;
    read.map_err(|mut why| {
        cut(&mut why, WHY_BYTES_MAX);
        complaints.push(Complaint { of: of.into(), why });
    })
    .ok()
}
