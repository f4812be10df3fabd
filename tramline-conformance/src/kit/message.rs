//! Messages that scenarios send.

use super::time::due_in;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tramline_core::envelope::{Envelope, Text, Via};
use tramline_core::headers::{HeaderValue, Headers};
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::transport::{CopyOf, Destination, Outgoing};

/// A message that is known by `id`, and nothing special.
pub(crate) fn message(id: &str) -> Envelope {
    Envelope {
        id: Some(message_id(id)),
        name: Some(Text::Borrowed("conformance.noted")),
        version: 1,
        content_type: Some(Text::Borrowed("application/json")),
        body: Bytes::from(format!("{{\"note\":\"{id}\"}}")),
        ..Envelope::default()
    }
}

/// `message`, whose key is the first letter of its id.
pub(crate) fn keyed(id: &str) -> Envelope {
    Envelope { key: Some(id[..1].to_owned()), ..message(id) }
}

/// `keyed` for each of `ids`, to `queue`.
pub(crate) fn keyed_messages<'a>(
    queue: &str,
    ids: impl IntoIterator<Item = &'a str>,
) -> Vec<Outgoing> {
    ids.into_iter().map(|id| to_queue(queue, keyed(id))).collect()
}

/// `message` for each of `ids`, to `queue`.
pub(crate) fn messages<'a>(queue: &str, ids: impl IntoIterator<Item = &'a str>) -> Vec<Outgoing> {
    ids.into_iter().map(|id| to_queue(queue, message(id))).collect()
}

/// An envelope with every field set but `via`. Times are whole milliseconds, as on the wire.
pub(crate) fn complete_message() -> Envelope {
    const HOUR: Duration = Duration::from_secs(3600);
    Envelope {
        id: Some(message_id("01890a5d-ac96-774b-bcce-b302099a8057")),
        name: Some(Text::Borrowed("conformance.completed")),
        version: 3,
        content_type: Some(Text::Borrowed("application/x-conformance")),
        sent_at: Some(due_in(Duration::ZERO)),
        correlation_id: Some("Bestellung-№7".to_owned()),
        causation_id: Some(message_id("the-cause")),
        conversation_id: Some(message_id("the-first-cause")),
        reply_to: Some("answers".to_owned()),
        key: Some("customer-42/größe".to_owned()),
        idempotency_key: Some("charge 42, once".to_owned()),
        expires_at: Some(due_in(HOUR)),
        priority: Some(4),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        via: None,
        headers: typed_headers(),
        body: Bytes::from_static(b"\x00not json\xff"),
    }
}

/// A header of each type, with values that a careless translation would change.
pub(crate) fn typed_headers() -> Headers {
    Headers::from_iter([
        ("text", HeaderValue::from("naïve — 日本語 🚋")),
        ("text_that_looks_like_a_number", HeaderValue::from("007.50")),
        ("text_that_looks_like_a_boolean", HeaderValue::from("true")),
        ("empty_text", HeaderValue::from("")),
        ("int", HeaderValue::Int(i64::MAX)),
        ("negative_int", HeaderValue::Int(i64::MIN)),
        ("float", HeaderValue::Float(0.1)),
        ("whole_float", HeaderValue::Float(3.0)),
        ("yes", HeaderValue::Bool(true)),
        ("no", HeaderValue::Bool(false)),
        ("bytes", HeaderValue::Bytes(Bytes::from_static(&[0, 0xff, 0x80, b'a']))),
    ])
}

/// `envelope`, straight to `queue`.
pub(crate) fn to_queue(queue: &str, envelope: Envelope) -> Outgoing {
    to(QueueRef::Main(queue_name(queue)), envelope)
}

/// `envelope`, straight to `queue` or its dead letters.
pub(crate) fn to(queue: QueueRef, envelope: Envelope) -> Outgoing {
    Outgoing { to: Destination::Queue(queue), envelope: Arc::new(envelope), due: None, copy: None }
}

/// `envelope`, to everybody who subscribed to `topic`. As the engine does it, `via` is set.
pub(crate) fn to_topic(topic: &str, subject: &str, mut envelope: Envelope) -> Outgoing {
    let (name, subject): (_, Text) = (topic_name(topic), subject.to_owned().into());
    envelope.via = Some(Via { topic: name.clone(), subject: subject.clone() });
    Outgoing {
        to: Destination::Topic { name, subject },
        envelope: Arc::new(envelope),
        due: None,
        copy: None,
    }
}

/// A copy of a message that was delivered, as the engine sends it.
pub(crate) fn copy(queue: QueueRef, envelope: &Arc<Envelope>, copy: CopyOf) -> Outgoing {
    Outgoing {
        to: Destination::Queue(queue),
        envelope: envelope.clone(),
        due: None,
        copy: Some(copy),
    }
}

/// Asserts that `got` is `sent` in every field. A missing version is the first one.
pub(crate) fn assert_same(got: &Envelope, sent: &Envelope) {
    let plain = |envelope: &Envelope| {
        let version = envelope.version.max(1);
        Envelope { version, body: Bytes::new(), ..envelope.clone() }
    };
    assert_eq!(plain(got), plain(sent), "the envelope that came is not the one that was sent");
    // Bodies can be long: what differs is told without printing them.
    assert_eq!(got.body.len(), sent.body.len(), "bytes of the body");
    assert!(got.body == sent.body, "a body of the right length came with other bytes");
}

pub(crate) fn message_id(id: &str) -> MessageId {
    id.parse().expect("scenarios use ids that are allowed")
}

pub(crate) fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect("scenarios use names that are allowed")
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName::new(name).expect("scenarios use names that are allowed")
}
