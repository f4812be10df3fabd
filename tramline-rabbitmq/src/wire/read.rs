//! What the broker delivered becomes a message.

use super::death;
use super::names::{
    APP_ID, CLUSTER_ID, CONTENT_ENCODING, DEATHS, DELIVERY_COUNT, USER_ID, is_brokers,
};
use super::value::{header_value, int, moment};
use crate::names::OWN_PREFIX;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{FieldTable, ShortString};
use std::mem;
use tramline_core::headers::Headers;
use tramline_core::name::TopicName;
use tramline_core::wire::{self, Complaint, Native, Received};

/// A message, and what the broker says about it.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The message, and what the bus has recorded with it. A dead letter that the broker made has
    /// the broker's reason.
    pub(crate) received: Received,
    /// Which delivery it is, as far as the broker says: quorum queues count, others tell only the first
    /// from those after it.
    pub(crate) deliveries: Option<u32>,
}

/// Reads what any client may have sent. Never fails: what cannot be read is left out with a
/// complaint, and the rest is kept.
pub(crate) fn read(mut delivery: Delivery) -> Incoming {
    let mut complaints = Vec::new();
    let native = native(&delivery, &mut complaints);
    let table = delivery.properties.headers().as_ref();
    let mut headers = table.map(|table| headers(table, &mut complaints)).unwrap_or_default();
    for (name, text) in unnamed(&delivery.properties) {
        headers.insert(name, text);
    }
    let deliveries = match delivery.redelivered {
        // A sender may have written the header of the count itself: a first delivery is a first one.
        false => Some(1),
        true => table.and_then(deliveries),
    };
    let body = Bytes::from(mem::take(&mut delivery.data));
    let mut received = wire::read(native, headers, body);
    received.complaints.append(&mut complaints);
    if received.record.death.is_none()
        && let Some(deaths) = table.and_then(|table| table.inner().get(DEATHS))
        && let Some((queue, death)) = death::last(deaths)
    {
        received.record.origin = Some(queue);
        received.record.death = Some(death);
    }
    Incoming { received, deliveries }
}

fn native(delivery: &Delivery, complaints: &mut Vec<Complaint>) -> Native {
    let properties: &BasicProperties = &delivery.properties;
    let sent_at = properties.timestamp().and_then(|seconds| {
        let complain = |why| complaints.push(Complaint { of: "the timestamp".into(), why });
        moment(seconds).map_err(complain).ok()
    });
    let exchange = delivery.exchange.as_str();
    let came_through_a_topic = !exchange.is_empty() && !exchange.starts_with(OWN_PREFIX);
    Native {
        id: owned(properties.message_id()),
        name: owned(properties.kind()),
        content_type: owned(properties.content_type()),
        sent_at,
        correlation_id: owned(properties.correlation_id()),
        reply_to: owned(properties.reply_to()),
        key: None,
        // The broker's own is a time to live, which it watches itself.
        expires_at: None,
        priority: *properties.priority(),
        topic: came_through_a_topic.then(|| TopicName::foreign(exchange)),
        subject: came_through_a_topic.then(|| delivery.routing_key.as_str().to_owned()),
    }
}

/// The properties that only headers have a name for.
fn unnamed(properties: &BasicProperties) -> impl Iterator<Item = (&'static str, String)> {
    let texts = [
        (CONTENT_ENCODING, properties.content_encoding()),
        (APP_ID, properties.app_id()),
        (USER_ID, properties.user_id()),
        (CLUSTER_ID, properties.cluster_id()),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, owned(text)?)))
}

/// Clients that cannot say "none" say "".
fn owned(text: &Option<ShortString>) -> Option<String> {
    let text = text.as_ref()?.as_str();
    (!text.is_empty()).then(|| text.to_owned())
}

fn headers(table: &FieldTable, complaints: &mut Vec<Complaint>) -> Headers {
    let shown = table.inner().iter().filter(|(name, _)| !is_brokers(name.as_str()));
    let read = shown.filter_map(|(name, value)| match header_value(value) {
        Ok(value) => Some((name.as_str(), value?)),
        Err(why) => {
            complaints.push(Complaint { of: name.as_str().to_owned().into(), why });
            None
        }
    });
    read.collect()
}

fn deliveries(table: &FieldTable) -> Option<u32> {
    let before = u32::try_from(int(table.inner().get(DELIVERY_COUNT)?)?).ok()?;
    Some(before.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::{AMQPValue, DecimalValue};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use tramline_core::clock::Timestamp;
    use tramline_core::dead::Reason;
    use tramline_core::headers::HeaderValue;

    fn delivery(exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, exchange.into(), key.into(), false, body.to_vec());
        delivery.properties = properties;
        delivery
    }

    fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value));
        BTreeMap::from_iter(pairs).into()
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn read_table(table: FieldTable) -> Incoming {
        let properties = BasicProperties::default().with_headers(table);
        read(delivery("", "orders", properties, b"{}"))
    }

    fn dead(queue: &str, reason: &str, seconds: u64) -> AMQPValue {
        AMQPValue::FieldTable(table([
            ("count", AMQPValue::LongLongInt(1)),
            ("queue", text(queue)),
            ("reason", text(reason)),
            ("time", AMQPValue::Timestamp(seconds)),
        ]))
    }

    #[test]
    fn a_body_alone_is_a_message() {
        let read = read(delivery("", "orders", BasicProperties::default(), b"{\"total\":3}"));
        let envelope = read.received.envelope;
        assert_eq!((&envelope.body[..], read.deliveries), (&b"{\"total\":3}"[..], Some(1)));
        let body = envelope.body.clone();
        assert_eq!(
            envelope,
            tramline_core::envelope::Envelope { body, version: 1, ..Default::default() }
        );
        assert_eq!(read.received.complaints, []);
    }

    #[test]
    fn the_properties_of_other_clients_are_metadata() {
        let properties = BasicProperties::default()
            .with_message_id("7".into())
            .with_type("order.placed".into())
            .with_content_type("application/json".into())
            .with_timestamp(1_700_000_000)
            .with_correlation_id("shop-1".into())
            .with_reply_to("answers".into())
            .with_content_encoding("gzip".into())
            .with_app_id("shop".into())
            .with_user_id("alice".into())
            .with_cluster_id("c1".into())
            .with_priority(4);
        let envelope = read(delivery("", "orders", properties, b"{}")).received.envelope;
        assert_eq!(envelope.id, Some("7".parse().unwrap()));
        assert_eq!(envelope.name.as_deref(), Some("order.placed"));
        assert_eq!(envelope.content_type.as_deref(), Some("application/json"));
        assert_eq!(envelope.sent_at, Some(Timestamp::from_millis(1_700_000_000_000)));
        assert_eq!(envelope.correlation_id.as_deref(), Some("shop-1"));
        assert_eq!(envelope.reply_to.as_deref(), Some("answers"));
        assert_eq!((envelope.priority, envelope.via), (Some(4), None));
        let unnamed = Headers::from_iter([
            ("amqp_content_encoding", "gzip"),
            ("amqp_app_id", "shop"),
            ("amqp_user_id", "alice"),
            ("amqp_cluster_id", "c1"),
        ]);
        assert_eq!(envelope.headers, unnamed);
    }

    #[test]
    fn empty_properties_are_none() {
        let properties = BasicProperties::default()
            .with_message_id("".into())
            .with_type("".into())
            .with_content_type("".into())
            .with_correlation_id("".into())
            .with_app_id("".into())
            .with_reply_to("".into());
        let received = read(delivery("", "orders", properties, b"")).received;
        let expected = tramline_core::envelope::Envelope { version: 1, ..Default::default() };
        assert_eq!((received.envelope, received.complaints), (expected, vec![]));
    }

    #[test]
    fn a_message_came_through_the_exchange_unless_it_is_one_of_the_drivers() {
        let via = |exchange| {
            let read = read(delivery(exchange, "eu.placed", BasicProperties::default(), b""));
            read.received.envelope.via.map(|via| (via.topic.to_string(), via.subject.into_owned()))
        };
        assert_eq!(via("order-placed"), Some(("order-placed".into(), "eu.placed".into())));
        assert_eq!(via("amq.topic"), Some(("amq.topic".into(), "eu.placed".into())));
        assert_eq!((via(""), via("tramline.due"), via("tramline.delay")), (None, None, None));
    }

    #[test]
    fn headers_of_every_type_are_shown() {
        let all = table([
            ("bool", AMQPValue::Boolean(true)),
            ("i8", AMQPValue::ShortShortInt(i8::MIN)),
            ("u8", AMQPValue::ShortShortUInt(u8::MAX)),
            ("i16", AMQPValue::ShortInt(i16::MIN)),
            ("u16", AMQPValue::ShortUInt(u16::MAX)),
            ("i32", AMQPValue::LongInt(i32::MIN)),
            ("u32", AMQPValue::LongUInt(u32::MAX)),
            ("i64", AMQPValue::LongLongInt(i64::MIN)),
            ("f32", AMQPValue::Float(0.5)),
            ("f64", AMQPValue::Double(0.25)),
            ("nan", AMQPValue::Double(f64::NAN)),
            ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1999 })),
            ("short", AMQPValue::ShortString("short".into())),
            ("long", text("long")),
            ("latin1", AMQPValue::LongString(vec![0xE4].into())),
            ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
            ("time", AMQPValue::Timestamp(2)),
            ("array", AMQPValue::FieldArray(vec![AMQPValue::Boolean(false)].into())),
            ("table", AMQPValue::FieldTable(table([("a", text("b"))]))),
            ("void", AMQPValue::Void),
        ]);
        let received = read_table(all).received;
        let bytes = |bytes: &'static [u8]| HeaderValue::Bytes(Bytes::from_static(bytes));
        let expected: Headers = Headers::from_iter([
            ("bool", HeaderValue::Bool(true)),
            ("i8", i64::from(i8::MIN).into()),
            ("u8", i64::from(u8::MAX).into()),
            ("i16", i64::from(i16::MIN).into()),
            ("u16", i64::from(u16::MAX).into()),
            ("i32", i32::MIN.into()),
            ("u32", u32::MAX.into()),
            ("i64", i64::MIN.into()),
            ("f32", 0.5.into()),
            ("f64", 0.25.into()),
            ("nan", "NaN".into()),
            ("decimal", "19.99".into()),
            ("short", "short".into()),
            ("long", "long".into()),
            ("latin1", bytes(&[0xE4])),
            ("bytes", bytes(&[0, 255])),
            ("time", 2000.into()),
            ("array", "[false]".into()),
            ("table", r#"{"a":"b"}"#.into()),
        ]);
        assert_eq!((received.envelope.headers, received.complaints), (expected, vec![]));
    }

    #[test]
    fn what_cannot_be_shown_is_left_out_with_a_complaint_and_the_rest_is_kept() {
        let bytes = AMQPValue::ByteArray(vec![0].into());
        let read = read_table(table([
            ("good", text("kept")),
            ("late", AMQPValue::Timestamp(u64::MAX)),
            ("odd", AMQPValue::FieldArray(vec![bytes].into())),
        ]));
        let headers = read.received.envelope.headers;
        assert_eq!((headers.len(), headers.text("good")), (1, Some("kept")));
        let complaints: Vec<_> = read.received.complaints.iter().map(ToString::to_string).collect();
        assert_eq!(complaints.len(), 2);
        assert!(complaints[0].starts_with("left out late: "), "{complaints:?}");
    }

    #[test]
    fn headers_of_the_broker_and_of_the_way_are_not_shown() {
        let read = read_table(table([
            ("x-death", AMQPValue::FieldArray(vec![].into())),
            ("x-first-death-queue", text("a")),
            ("x-last-death-reason", text("expired")),
            ("x-delivery-count", AMQPValue::LongLongInt(3)),
            ("CC", AMQPValue::FieldArray(vec![text("b")].into())),
            ("tramline_delay", text("5s")),
            ("tramline_delay_1s", text("5")),
            ("x-tenant", text("eu")),
        ]));
        let names: Vec<_> =
            read.received.envelope.headers.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["x-tenant"]);
    }

    #[test]
    fn the_brokers_count_is_of_earlier_deliveries_and_counts_only_when_redelivered() {
        let counted = |redelivered, count| {
            let headers = table([("x-delivery-count", count)]);
            let properties = BasicProperties::default().with_headers(headers);
            let mut delivery = delivery("", "orders", properties, b"");
            delivery.redelivered = redelivered;
            read(delivery).deliveries
        };
        assert_eq!(counted(true, AMQPValue::LongLongInt(2)), Some(3));
        assert_eq!(counted(true, AMQPValue::ShortShortUInt(1)), Some(2));
        assert_eq!(counted(true, AMQPValue::LongLongInt(i64::MAX)), None);
        assert_eq!(counted(true, AMQPValue::LongLongInt(-4)), None);
        assert_eq!(counted(true, text("1")), None);
        assert_eq!(counted(false, AMQPValue::LongLongInt(90)), Some(1), "the sender wrote it");
    }

    #[test]
    fn a_dead_letter_of_the_brokers_has_its_reason_its_queue_and_its_time() {
        let record = |reason| {
            let deaths = vec![dead("orders", reason, 9), dead("before", "expired", 5)];
            let headers = table([("x-death", AMQPValue::FieldArray(deaths.into()))]);
            read_table(headers).received.record
        };
        let expired = record("expired");
        let death = expired.death.unwrap();
        assert_eq!(expired.origin.unwrap().as_str(), "orders");
        assert_eq!((death.reason, death.failed_at.as_millis()), (Reason::Expired, 9000));
        assert_eq!(record("delivery_limit").death.unwrap().reason, Reason::Poison);
        let other = |word: &str| Reason::Other(word.to_owned());
        assert_eq!(record("maxlen").death.unwrap().reason, other("maxlen"));
        assert_eq!(record("rejected").death.unwrap().reason, other("rejected"));
    }

    #[test]
    fn the_end_of_waiting_in_a_stage_is_no_death() {
        let stage = dead("tramline.delay.5s", "expired", 9);
        let of = |deaths: Vec<AMQPValue>| {
            read_table(table([("x-death", AMQPValue::FieldArray(deaths.into()))])).received.record
        };
        assert_eq!(of(vec![stage.clone()]), Default::default());
        let killed_later = of(vec![stage, dead("orders", "maxlen", 3)]);
        assert_eq!(killed_later.origin.unwrap().as_str(), "orders");
    }

    #[test]
    fn a_dead_letter_that_the_bus_made_keeps_its_own_reason() {
        let record = read_table(table([
            ("tramline_dead_reason", text("exhausted")),
            ("tramline_origin", text("orders")),
            ("x-death", AMQPValue::FieldArray(vec![dead("other", "maxlen", 3)].into())),
        ]))
        .received
        .record;
        assert_eq!(record.death.unwrap().reason, Reason::Exhausted);
        assert_eq!(record.origin.unwrap().as_str(), "orders");
    }

    fn value() -> impl Strategy<Value = AMQPValue> {
        let short = || ".{0,8}".prop_map(|text| lapin::types::ShortString::from(text.as_str()));
        let bytes = || prop::collection::vec(any::<u8>(), 0..12);
        let leaf = prop_oneof![
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<u32>().prop_map(AMQPValue::LongUInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<f32>().prop_map(AMQPValue::Float),
            any::<f64>().prop_map(AMQPValue::Double),
            (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| {
                AMQPValue::DecimalValue(DecimalValue { scale, value })
            }),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            short().prop_map(AMQPValue::ShortString),
            bytes().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            bytes().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
            Just(AMQPValue::Void),
        ];
        leaf.prop_recursive(20, 64, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| AMQPValue::FieldArray(values.into())),
                prop::collection::vec((name(), inner), 0..4)
                    .prop_map(|pairs| AMQPValue::FieldTable(BTreeMap::from_iter(pairs).into())),
            ]
        })
    }

    /// Names that mean something, and any.
    fn name() -> impl Strategy<Value = ShortString> {
        let known = prop::sample::select(vec![
            "x-death",
            "x-delivery-count",
            "queue",
            "reason",
            "time",
            "CC",
            "tramline_id",
            "tramline_sent_at",
            "tramline_failures",
            "tramline_errors",
            "tramline_dead_reason",
            "tramline_delay",
            "ce_id",
            "ce_time",
            "MT-MessageType",
        ]);
        prop_oneof![
            known.prop_map(ShortString::from),
            ".{0,8}".prop_map(|name| ShortString::from(name.as_str())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn whatever_the_headers_are_the_message_is_read_and_its_body_is_kept(
            pairs in prop::collection::vec((name(), value()), 0..12),
            seconds in any::<Option<u64>>(),
            redelivered in any::<bool>(),
            body in prop::collection::vec(any::<u8>(), 0..32),
        ) {
            let table = FieldTable::from(BTreeMap::from_iter(pairs));
            let mut properties = BasicProperties::default().with_headers(table.clone());
            if let Some(seconds) = seconds {
                properties = properties.with_timestamp(seconds);
            }
            let mut delivery = delivery("", "orders", properties, &body);
            delivery.redelivered = redelivered;
            let Incoming { received, deliveries } = read(delivery);
            prop_assert_eq!(&received.envelope.body[..], &body[..]);
            prop_assert!(deliveries.is_none_or(|deliveries| deliveries >= 1));
            // Each of the user's headers is shown, says nothing, or is complained about.
            for (name, value) in table.inner() {
                let name = name.as_str();
                let is_known = is_brokers(name) || name.starts_with("tramline_");
                let is_shown = received.envelope.headers.get(name).is_some();
                let is_complained_about = received.complaints.iter().any(|why| why.of == name);
                let says_nothing = *value == AMQPValue::Void;
                prop_assert!(is_known || is_shown || is_complained_about || says_nothing, "{}", name);
            }
        }
    }
}
