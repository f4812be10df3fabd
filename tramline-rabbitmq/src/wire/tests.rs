//! What is written is read again.

use super::{Incoming, read, write};
use crate::delay::{Plan, Target, hops};
use bytes::Bytes;
use lapin::message::Delivery;
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{FailureNote, History, Reason};
use tramline_core::envelope::{Envelope, Via};
use tramline_core::headers::HeaderValue;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::settlement::Marks;
use tramline_core::transport::{CopyOf, Destination, Outgoing};
use tramline_core::wire::Record;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Also too long for a short string of AMQP.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![9 => ".{0,40}", 1 => "é{100,200}"]
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_i64).prop_map(Timestamp::from_millis)
}

fn id() -> impl Strategy<Value = MessageId> {
    prop_oneof![
        any::<u128>().prop_map(|bits| MessageId::new(NOW, bits)),
        "[a-z]{1,128}".prop_map(|text| text.parse().unwrap()),
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        text().prop_map(HeaderValue::Text),
        any::<i64>().prop_map(HeaderValue::Int),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(HeaderValue::Float),
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<Vec<u8>>().prop_map(|bytes| HeaderValue::Bytes(bytes.into())),
    ]
}

prop_compose! {
    fn identified()(
        id in option::of(id()),
        name in option::of(text()),
        version in 1..9_u32,
        content_type in option::of(text()),
        causation_id in option::of(id()),
        conversation_id in option::of(id()),
        correlation_id in option::of(text()),
        body in any::<Vec<u8>>(),
    ) -> Envelope {
        let (name, content_type) = (name.map(Into::into), content_type.map(Into::into));
        let body = Bytes::from(body);
        let envelope = Envelope { id, name, version, content_type, causation_id, body, ..Envelope::default() };
        Envelope { conversation_id, correlation_id, ..envelope }
    }
}

prop_compose! {
    fn envelope()(
        identified in identified(),
        sent_at in option::of(moment()),
        reply_to in option::of(text()),
        key in option::of(text()),
        idempotency_key in option::of(text()),
        expires_at in option::of(moment()),
        priority in option::of(any::<u8>()),
        headers in btree_map("h-[a-zA-Z0-9é ]{0,40}", value(), 0..5),
    ) -> Envelope {
        let headers = headers.into_iter().collect();
        let envelope = Envelope { sent_at, reply_to, key, idempotency_key, ..identified };
        Envelope { expires_at, priority, headers, ..envelope }
    }
}

fn queue() -> Destination {
    Destination::Queue(QueueRef::Main(QueueName::foreign("work")))
}

/// As the broker would hand it out.
fn delivered(outgoing: &Outgoing, properties: lapin::BasicProperties, way: [&str; 2]) -> Incoming {
    let [exchange, key] = way.map(Into::into);
    let mut delivery = Delivery::mock(1, exchange, key, false, outgoing.envelope.body.to_vec());
    delivery.properties = properties;
    read(delivery)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_message_arrives_as_it_was_sent(envelope in envelope(), waits in any::<bool>()) {
        let pause = Plan::scheduled(Duration::from_millis(35_250)).unwrap();
        let (name, subject) = (TopicName::foreign("orders"), "orders.placed");
        let topic = Destination::Topic { name: name.clone(), subject: subject.into() };
        let via = Some(Via { topic: name, subject: subject.into() });
        let last = ["tramline.delay.after-50ms", subject];
        let ways = [
            (queue(), Target::Queue, ["", "work"], None),
            (topic, Target::Exchange("orders".to_owned()), ["orders", subject], via),
        ];
        for (to, target, way, via) in ways {
            let outgoing = Outgoing { to, envelope: envelope.clone().into(), due: None, copy: None };
            let hops = if waits { hops(&pause, &target) } else { Vec::new() };
            let properties = write(&outgoing, &hops, NOW).unwrap();
            let incoming = delivered(&outgoing, properties, if waits { last } else { way });
            prop_assert_eq!(incoming.received.complaints, []);
            prop_assert_eq!(incoming.received.record, Record::default());
            prop_assert_eq!(incoming.received.envelope, Envelope { via, ..envelope.clone() });
        }
    }

    #[test]
    fn a_copy_arrives_with_its_record(
        envelope in envelope(),
        failures in 1..100_u32,
        error in text(),
        trials in 0..4_u32,
    ) {
        let mut history = History::new();
        history.push(FailureNote { at: NOW, failure: failures, error });
        let marks = Marks { trials, unhandled_since: Some(NOW) };
        let reason = Reason::Exhausted;
        let copies = [
            CopyOf::Retry { failures, history: history.clone(), marks },
            CopyOf::DeadLetter { reason, failures, history },
        ];
        for copy in copies {
            let envelope = envelope.clone().into();
            let outgoing = Outgoing { to: queue(), envelope, due: None, copy: Some(copy) };
            let properties = write(&outgoing, &[], NOW).unwrap();
            let incoming = delivered(&outgoing, properties, ["", "work"]);
            prop_assert_eq!(incoming.received.complaints, []);
            prop_assert_eq!(&incoming.received.envelope, &*outgoing.envelope);
            prop_assert_eq!(incoming.received.record, Record::of(&outgoing, NOW));
        }
    }
}
