//! Messages with everything set, by hand and by chance.

use crate::clock::Timestamp;
use crate::dead::{FailureNote, History, Reason};
use crate::envelope::{Envelope, Text, Via};
use crate::headers::{HeaderValue, Headers};
use crate::id::MessageId;
use crate::name::{QueueName, TopicName};
use crate::settlement::Marks;
use crate::wire::{Death, Native, Record};
use bytes::Bytes;
use proptest::option;
use proptest::prelude::*;

pub(super) fn full_envelope() -> Envelope {
    Envelope {
        id: Some(id("01890a5d-ac96-774b-bcce-b302099a8057")),
        name: Some("orders.placed".into()),
        version: 2,
        content_type: Some("application/json".into()),
        sent_at: Some(Timestamp::from_millis(1_700_000_000_001)),
        correlation_id: Some("order 7".to_owned()),
        causation_id: Some(id("cause")),
        conversation_id: Some(id("first-cause")),
        reply_to: Some("answers".to_owned()),
        key: Some("customer-42".to_owned()),
        idempotency_key: Some("charge 42, once".to_owned()),
        expires_at: Some(Timestamp::from_millis(1_700_000_060_001)),
        priority: Some(4),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        via: Some(Via { topic: TopicName::foreign("orders"), subject: "orders.placed".into() }),
        headers: Headers::from_iter([("region", "eu")]),
        body: Bytes::from_static(b"{}"),
    }
}

pub(super) fn full_record() -> Record {
    let mut history = History::new();
    history.push(note(1_700_000_001_000, 1, "timeout"));
    history.push(note(1_700_000_002_000, 2, "\"no\" \u{1}"));
    Record {
        failures: 2,
        history,
        marks: Marks {
            trials: 1,
            unhandled_since: Some(Timestamp::from_millis(1_700_000_000_500)),
        },
        origin: Some(QueueName::foreign("payment")),
        death: Some(Death {
            reason: Reason::Exhausted,
            first_failed_at: Some(Timestamp::from_millis(1_700_000_001_000)),
            failed_at: Timestamp::from_millis(1_700_000_003_000),
        }),
    }
}

/// Everything of `envelope` that some broker carries by itself.
pub(super) fn all_native(envelope: &Envelope) -> Native {
    let text = |text: &Option<Text>| text.as_deref().map(str::to_owned);
    let via = envelope.via.as_ref();
    Native {
        id: envelope.id.as_ref().map(ToString::to_string),
        name: text(&envelope.name),
        content_type: text(&envelope.content_type),
        sent_at: envelope.sent_at,
        correlation_id: envelope.correlation_id.clone(),
        reply_to: envelope.reply_to.clone(),
        key: envelope.key.clone(),
        expires_at: envelope.expires_at,
        priority: envelope.priority,
        topic: via.map(|via| via.topic.clone()),
        subject: via.map(|via| via.subject.to_string()),
    }
}

pub(super) fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

pub(super) fn note(at_millis: i64, failure: u32, error: &str) -> FailureNote {
    FailureNote { at: Timestamp::from_millis(at_millis), failure, error: error.to_owned() }
}

prop_compose! {
    pub(super) fn envelopes()(
        ids in [option::of(ids()), option::of(ids()), option::of(ids())],
        texts in [texts(), texts(), texts(), texts(), texts(), texts(), texts()],
        times in [option::of(times()), option::of(times())],
        version in 1_u32..,
        priority in any::<Option<u8>>(),
        via in option::of((any::<String>(), any::<String>())),
        headers in headers(),
        body in proptest::collection::vec(any::<u8>(), 0..8),
    ) -> Envelope {
        let [id, causation_id, conversation_id] = ids;
        let [name, content_type, correlation_id, reply_to, key, idempotency_key, traceparent] =
            texts;
        let [sent_at, expires_at] = times;
        Envelope {
            id,
            name: name.map(Text::Owned),
            version,
            content_type: content_type.map(Text::Owned),
            sent_at,
            correlation_id,
            causation_id,
            conversation_id,
            reply_to,
            key,
            idempotency_key,
            expires_at,
            priority,
            traceparent,
            via: via.map(|(topic, subject)| Via {
                topic: TopicName::foreign(topic),
                subject: subject.into(),
            }),
            headers,
            body: body.into(),
        }
    }
}

prop_compose! {
    pub(super) fn records()(
        failures in any::<u32>(),
        notes in proptest::collection::vec((times(), any::<u32>(), any::<String>()), 0..4),
        trials in any::<u32>(),
        unhandled_since in option::of(times()),
        origin in option::of(any::<String>()),
        death in option::of((any::<String>(), option::of(times()), times())),
    ) -> Record {
        let mut history = History::new();
        for (at, failure, error) in notes {
            history.push(FailureNote { at, failure, error });
        }
        Record {
            failures,
            history,
            marks: Marks { trials, unhandled_since },
            origin: origin.map(QueueName::foreign),
            death: death.map(|(reason, first_failed_at, failed_at)| Death {
                reason: reason.into(),
                first_failed_at,
                failed_at,
            }),
        }
    }
}

/// Names that are neither ours nor an alias: only those may change on the way.
pub(super) fn headers() -> impl Strategy<Value = Headers> {
    let pairs = proptest::collection::vec(("h[a-zA-Z0-9_.-]{0,6}", values()), 0..5);
    pairs.prop_map(Headers::from_iter)
}

pub(super) fn values() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        any::<String>().prop_map(HeaderValue::Text),
        any::<i64>().prop_map(HeaderValue::Int),
        any::<i64>().prop_map(|int| HeaderValue::Text(int.to_string())),
        any::<f64>().prop_map(HeaderValue::from),
        any::<bool>().prop_map(HeaderValue::Bool),
        proptest::collection::vec(any::<u8>(), 0..6)
            .prop_map(|bytes| HeaderValue::Bytes(bytes.into())),
    ]
}

fn ids() -> impl Strategy<Value = MessageId> {
    prop_oneof![
        any::<u128>().prop_map(|bits| MessageId::new(Timestamp::from_millis(7), bits)),
        "[ -~é]{1,60}".prop_map(|text| id(&text)),
    ]
}

fn texts() -> impl Strategy<Value = Option<String>> {
    option::of(any::<String>())
}

/// Whole milliseconds in the years that are written.
fn times() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000_i64..=253_402_300_799_999).prop_map(Timestamp::from_millis)
}
