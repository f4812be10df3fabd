//! Metadata become headers.

use super::native::Native;
use super::record::{Death, Record};
use super::{errors, names, value};
use crate::clock::Timestamp;
use crate::cut::cut;
use crate::envelope::Envelope;
use crate::headers::{HeaderValue, Headers};

/// What a reason of the broker's or a handler's own may take.
const REASON_BYTES_MAX: usize = 1024;

/// The headers that `envelope` and `record` travel with, apart from what `native` carries: the
/// user's, and after them ours.
///
/// A header of the user's that stands under one of our names is not sent, and of two
/// `x-retry-count` the bus's is.
pub fn write(envelope: &Envelope, record: &Record, native: &Native) -> Headers {
    let mut headers = Headers::new();
    write_each(envelope, record, native, |name, value| {
        headers.insert(name, value);
    });
    headers
}

/// Hands each of the headers that [`write()`] answers to `put`, for drivers that keep them in another
/// form. Of two with one name the later one holds.
pub fn write_each(
    envelope: &Envelope,
    record: &Record,
    native: &Native,
    put: impl FnMut(&str, HeaderValue),
) {
    let mut writer = Writer { put };
    let users = envelope.headers.iter().filter(|(name, _)| !names::is_reserved(name));
    users.for_each(|(name, value)| writer.put(name, Some(value.clone())));
    writer.identity(envelope, native);
    writer.delivery(envelope, native);
    writer.record(record);
}

struct Writer<F> {
    put: F,
}

impl<F: FnMut(&str, HeaderValue)> Writer<F> {
    fn identity(&mut self, envelope: &Envelope, native: &Native) {
        let id = envelope.id.as_ref().filter(|_| native.id.is_none()).map(ToString::to_string);
        let causation_id = envelope.causation_id.as_ref().map(ToString::to_string);
        let conversation_id = envelope.conversation_id.as_ref().map(ToString::to_string);
        let version = Some(envelope.version).filter(|version| *version > 1);
        self.unless(&native.id, names::ID, id);
        self.unless(&native.name, names::MESSAGE, envelope.name.as_deref());
        self.unless(&native.content_type, names::CONTENT_TYPE, envelope.content_type.as_deref());
        let correlation_id = envelope.correlation_id.as_deref();
        self.unless(&native.correlation_id, names::CORRELATION_ID, correlation_id);
        self.put(names::VERSION, version);
        self.put(names::CAUSATION_ID, causation_id);
        self.put(names::CONVERSATION_ID, conversation_id);
        self.put(names::TRACEPARENT, envelope.traceparent.as_deref());
    }

    fn delivery(&mut self, envelope: &Envelope, native: &Native) {
        let via = envelope.via.as_ref();
        let priority = envelope.priority.map(u32::from);
        self.unless(&native.sent_at, names::SENT_AT, envelope.sent_at.map(time));
        self.unless(&native.expires_at, names::EXPIRES_AT, envelope.expires_at.map(time));
        self.unless(&native.reply_to, names::REPLY_TO, envelope.reply_to.as_deref());
        self.unless(&native.key, names::KEY, envelope.key.as_deref());
        self.unless(&native.priority, names::PRIORITY, priority);
        self.unless(&native.topic, names::TOPIC, via.map(|via| via.topic.as_str()));
        self.unless(&native.subject, names::SUBJECT, via.map(|via| &*via.subject));
        self.put(names::IDEMPOTENCY_KEY, envelope.idempotency_key.as_deref());
    }

    fn record(&mut self, record: &Record) {
        let Record { failures, history, marks, origin, death } = record;
        let above_zero = |count: u32| Some(count).filter(|count| *count > 0);
        self.put(names::FAILURES, above_zero(*failures));
        self.put(names::RETRY_COUNT, above_zero(*failures));
        self.put(names::TRIALS, above_zero(marks.trials));
        self.put(names::UNHANDLED_SINCE, marks.unhandled_since.map(time));
        self.put(names::ORIGIN, origin.as_ref().map(|queue| queue.as_str()));
        self.put(names::ERRORS, errors::write(history));
        if let Some(Death { reason, first_failed_at, failed_at }) = death {
            let mut reason = reason.as_str().to_owned();
            cut(&mut reason, REASON_BYTES_MAX);
            self.put(names::DEAD_REASON, Some(reason));
            self.put(names::FIRST_FAILED_AT, first_failed_at.map(time));
            self.put(names::FAILED_AT, Some(time(*failed_at)));
        }
    }

    fn put(&mut self, name: &str, value: Option<impl Into<HeaderValue>>) {
        if let Some(value) = value {
            (self.put)(name, value.into());
        }
    }

    fn unless<N>(&mut self, native: &Option<N>, name: &str, value: Option<impl Into<HeaderValue>>) {
        if native.is_none() {
            self.put(name, value);
        }
    }
}

fn time(moment: Timestamp) -> HeaderValue {
    HeaderValue::Int(value::millis(moment))
}
