//! A message becomes properties and headers.

use super::names::{APP_ID, CLUSTER_ID, CONTENT_ENCODING, is_brokers};
use crate::delay::Hop;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, MAX_SHORT_STRING_LENGTH, ShortString};
use std::collections::BTreeMap;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::{Envelope, Via};
use tramline_core::headers::HeaderValue;
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::wire::{self, Native, Record};
use tramline_core::{Error, ErrorKind, Result};

const PERSISTENT: u8 = 2;

type With = fn(BasicProperties, ShortString) -> BasicProperties;

/// Headers that travel as properties if they are text that fits. A user's name is none of them: the
/// broker refuses one that is not the sender's.
const UNNAMED: [(&str, With); 3] = [
    (CONTENT_ENCODING, BasicProperties::with_content_encoding),
    (APP_ID, BasicProperties::with_app_id),
    (CLUSTER_ID, BasicProperties::with_cluster_id),
];

/// What `outgoing` travels with when it is sent at `now`; with `hops`, if it is delayed.
///
/// Headers that [belong to the broker](is_brokers) are not written, whoever set them: the broker
/// drops a copy with an `x-death` of the queue that it goes to, and a message has one destination,
/// whatever its `CC` says.
///
/// # Errors
/// [`ErrorKind::TooLarge`] if AMQP cannot say the name of a header.
pub(crate) fn write(outgoing: &Outgoing, hops: &[Hop], now: Timestamp) -> Result<BasicProperties> {
    let envelope = as_sent(outgoing, hops);
    let native = native(&envelope);
    let mut headers = table(&envelope, &Record::of(outgoing, now), &native, hops)?;
    let mut properties = carried(native).with_delivery_mode(PERSISTENT);
    for (name, with) in UNNAMED {
        if let Some(AMQPValue::LongString(text)) = headers.get(name)
            && let Ok(text) = ShortString::try_new(text.to_string())
        {
            headers.remove(name);
            properties = with(properties, text);
        }
    }
    let headers = FieldTable::from(headers);
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    // For the eyes of others: the header has it to the millisecond.
    if let Some(sent_at) = envelope.sent_at {
        let seconds = u64::try_from(sent_at.as_millis().div_euclid(1000));
        properties = properties.with_timestamp(seconds.unwrap_or(0));
    }
    if let Some(millis) = time_to_live(outgoing, hops, now) {
        properties = properties.with_expiration(millis.to_string().into());
    }
    Ok(properties)
}

/// The envelope with the way that it takes. A direct send has none. An event that waits in stages
/// does not come straight through its topic, so that only headers can say how it came.
fn as_sent(outgoing: &Outgoing, hops: &[Hop]) -> Arc<Envelope> {
    let via = match &outgoing.to {
        Destination::Topic { name, subject } if !hops.is_empty() => {
            Some(Via { topic: name.clone(), subject: subject.clone() })
        }
        _ => None,
    };
    if outgoing.envelope.via == via {
        return outgoing.envelope.clone();
    }
    Arc::new(Envelope { via, ..Envelope::clone(&outgoing.envelope) })
}

/// What properties carry as it is. Text that is too long for one travels as a header; so do the
/// times, because a timestamp is of whole seconds and a time to live is not a moment.
fn native(envelope: &Envelope) -> Native {
    let fits = |text: &str| !text.is_empty() && text.len() <= MAX_SHORT_STRING_LENGTH;
    let short = |text: &str| fits(text).then(|| text.to_owned());
    Native {
        id: envelope.id.as_ref().map(ToString::to_string).filter(|id| fits(id)),
        name: envelope.name.as_deref().and_then(short),
        content_type: envelope.content_type.as_deref().and_then(short),
        correlation_id: envelope.correlation_id.as_deref().and_then(short),
        reply_to: envelope.reply_to.as_deref().and_then(short),
        priority: envelope.priority,
        ..Native::default()
    }
}

fn carried(native: Native) -> BasicProperties {
    let mut properties = BasicProperties::default();
    // One by one: properties are large, and a call that is not inlined moves them to and fro.
    if let Some(id) = native.id {
        properties = properties.with_message_id(id.into());
    }
    if let Some(name) = native.name {
        properties = properties.with_type(name.into());
    }
    if let Some(content_type) = native.content_type {
        properties = properties.with_content_type(content_type.into());
    }
    if let Some(correlation_id) = native.correlation_id {
        properties = properties.with_correlation_id(correlation_id.into());
    }
    if let Some(reply_to) = native.reply_to {
        properties = properties.with_reply_to(reply_to.into());
    }
    match native.priority {
        Some(priority) => properties.with_priority(priority),
        None => properties,
    }
}

fn table(
    envelope: &Envelope,
    record: &Record,
    native: &Native,
    hops: &[Hop],
) -> Result<BTreeMap<ShortString, AMQPValue>> {
    let mut table = BTreeMap::new();
    let mut refused = None;
    let mut put = |name: &str, value| match header_name(name) {
        Ok(name) => drop(table.insert(name, amqp_value(value))),
        Err(error) => refused = Some(error),
    };
    wire::write_each(envelope, record, native, |name, value| {
        if !is_brokers(name) {
            put(name, value);
        }
    });
    hops.iter().for_each(|hop| put(&hop.header, hop.value.as_str().into()));
    refused.map_or(Ok(table), Err)
}

fn header_name(name: &str) -> Result<ShortString> {
    ShortString::try_new(name).map_err(|error| {
        let doing = "write a header: its name may have up to 255 bytes";
        Error::new(ErrorKind::TooLarge, doing).because(error)
    })
}

fn amqp_value(value: HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Text(text) => AMQPValue::LongString(text.into()),
        HeaderValue::Int(int) => AMQPValue::LongLongInt(int),
        HeaderValue::Float(float) => AMQPValue::Double(float),
        HeaderValue::Bool(bool) => AMQPValue::Boolean(bool),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(Vec::from(bytes).into()),
    }
}

/// In milliseconds, for messages that go straight to their queue for the first time. The broker would
/// dead-letter one in a stage, or a copy of one that is at work, as if its queue had killed it.
///
/// The broker knows none over 2³² ms; who waits that long is told by the header.
fn time_to_live(outgoing: &Outgoing, hops: &[Hop], now: Timestamp) -> Option<u32> {
    if outgoing.copy.is_some() || !hops.is_empty() {
        return None;
    }
    let left = outgoing.envelope.expires_at?.since(now);
    // Rounded up: the endpoint knows the moment exactly.
    u32::try_from(left.as_micros().div_ceil(1000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delay::{Plan, Target, hops};
    use bytes::Bytes;
    use std::time::Duration;
    use tramline_core::headers::Headers;
    use tramline_core::name::{QueueName, QueueRef, TopicName};
    use tramline_core::transport::CopyOf;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn to_queue(envelope: Envelope) -> Outgoing {
        let to = Destination::Queue(QueueRef::Main(QueueName::foreign("work")));
        Outgoing { to, envelope: envelope.into(), due: None, copy: None }
    }

    fn to_topic(envelope: Envelope) -> Outgoing {
        let (name, subject) = (TopicName::foreign("orders"), "orders.placed".into());
        Outgoing { to: Destination::Topic { name, subject }, ..to_queue(envelope) }
    }

    fn written(outgoing: &Outgoing) -> BasicProperties {
        write(outgoing, &[], NOW).unwrap()
    }

    fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
        properties.headers().as_ref()?.inner().get(name)
    }

    fn header_names(properties: &BasicProperties) -> Vec<&str> {
        let table = properties.headers().iter().flatten();
        table.map(|(name, _)| name.as_str()).collect()
    }

    fn text(text: &str) -> Option<AMQPValue> {
        Some(AMQPValue::LongString(text.into()))
    }

    #[test]
    fn what_has_a_property_travels_in_it() {
        let envelope = Envelope {
            id: Some("order-7".parse().unwrap()),
            name: Some("orders.placed".into()),
            content_type: Some("application/json".into()),
            correlation_id: Some("checkout-1".to_owned()),
            reply_to: Some("answers".to_owned()),
            priority: Some(3),
            sent_at: Some(Timestamp::from_millis(1_699_999_999_999)),
            ..Envelope::default()
        };
        let properties = written(&to_queue(envelope));
        let plain = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id("order-7".into())
            .with_type("orders.placed".into())
            .with_content_type("application/json".into())
            .with_correlation_id("checkout-1".into())
            .with_reply_to("answers".into())
            .with_priority(3)
            .with_timestamp(1_699_999_999);
        let mut table = FieldTable::default();
        // The timestamp has no milliseconds.
        table.insert("tramline_sent_at".into(), AMQPValue::LongLongInt(1_699_999_999_999));
        assert_eq!(properties, plain.with_headers(table));
    }

    #[test]
    fn text_that_is_too_long_for_a_property_travels_as_a_header() {
        let (fits, long) = ("x".repeat(255), "x".repeat(256));
        let with = |correlation_id: &String| {
            let correlation_id = Some(correlation_id.clone());
            written(&to_queue(Envelope { correlation_id, ..Envelope::default() }))
        };
        let (short, header_only) = (with(&fits), with(&long));
        assert_eq!(short.correlation_id().as_ref().unwrap().as_str(), fits);
        assert_eq!((header_names(&short).len(), header_only.correlation_id()), (0, &None));
        assert_eq!(header(&header_only, "tramline_correlation_id").cloned(), text(&long));
    }

    #[test]
    fn what_only_headers_have_a_name_for_travels_as_the_property_but_for_the_user() {
        let names = ["content_encoding", "app_id", "cluster_id", "user_id"];
        let named = |value: HeaderValue| {
            let headers = names.map(|name| (format!("amqp_{name}"), value.clone()));
            let headers = headers.into_iter().collect();
            written(&to_queue(Envelope { headers, ..Envelope::default() }))
        };
        let properties = named("shop".into());
        let shop = Some("shop".into());
        assert_eq!(
            (properties.content_encoding(), properties.app_id(), properties.cluster_id()),
            (&shop, &shop, &shop)
        );
        assert_eq!(
            (properties.user_id(), header_names(&properties)),
            (&None, vec!["amqp_user_id"])
        );
        // What is no short text stays a header.
        for value in [HeaderValue::Int(7), "x".repeat(256).into()] {
            let properties = named(value);
            assert_eq!((properties.app_id(), header_names(&properties).len()), (&None, 4));
        }
    }

    #[test]
    fn headers_keep_their_types() {
        let mut headers = Headers::new();
        headers.insert("text", "é");
        headers.insert("int", i64::MIN);
        headers.insert("float", 0.1);
        headers.insert("bool", true);
        headers.insert("bytes", Bytes::from_static(&[0, 255]));
        let properties = written(&to_queue(Envelope { headers, ..Envelope::default() }));
        let value = |name| header(&properties, name).cloned();
        assert_eq!(value("text"), text("é"));
        assert_eq!(value("int"), Some(AMQPValue::LongLongInt(i64::MIN)));
        assert_eq!(value("float"), Some(AMQPValue::Double(0.1)));
        assert_eq!(value("bool"), Some(AMQPValue::Boolean(true)));
        assert_eq!(value("bytes"), Some(AMQPValue::ByteArray(vec![0, 255].into())));
    }

    #[test]
    fn headers_that_belong_to_the_broker_are_not_written() {
        let brokers = ["x-death", "x-first-death-queue", "x-last-death-reason", "CC", "BCC"];
        let stale = ["x-delivery-count", "tramline_delay", "tramline_delay_1s"];
        let names = brokers.into_iter().chain(stale).chain(["x-mine", "Cc"]);
        let headers = names.map(|name| (name, "x")).collect();
        let first = to_queue(Envelope { headers, ..Envelope::default() });
        let copy = Outgoing { copy: Some(CopyOf::Redrive), ..first.clone() };
        for outgoing in [first, copy] {
            assert_eq!(header_names(&written(&outgoing)), ["Cc", "x-mine"]);
        }
    }

    #[test]
    fn a_header_whose_name_amqp_cannot_say_is_refused() {
        let named = |bytes| {
            let headers = [("n".repeat(bytes), "x")].into_iter().collect();
            write(&to_queue(Envelope { headers, ..Envelope::default() }), &[], NOW)
        };
        assert!(named(255).is_ok());
        let error = named(256).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("255"), "{error}");
    }

    #[test]
    fn only_a_first_send_without_a_delay_has_a_time_to_live() {
        let left = |micros| Some(NOW.after(Duration::from_micros(micros)));
        let expires = |expires_at| to_queue(Envelope { expires_at, ..Envelope::default() });
        let expiration = |outgoing: &Outgoing, hops: &[Hop]| {
            let properties = write(outgoing, hops, NOW).unwrap();
            assert!(header(&properties, "tramline_expires_at").is_some());
            properties.expiration().as_ref().map(ToString::to_string)
        };
        let first = expires(left(1_500_001));
        assert_eq!(expiration(&first, &[]).as_deref(), Some("1501"));
        assert_eq!(expiration(&expires(Some(NOW)), &[]).as_deref(), Some("0"));
        assert_eq!(
            expiration(&expires(Some(NOW.before(Duration::MAX))), &[]).as_deref(),
            Some("0")
        );
        let longest = u64::from(u32::MAX) * 1000;
        assert_eq!(expiration(&expires(left(longest)), &[]).as_deref(), Some("4294967295"));
        assert_eq!(expiration(&expires(left(longest + 1)), &[]), None);

        let stages = hops(&Plan::retry(Duration::from_secs(1)).unwrap(), &Target::Queue);
        assert_eq!(expiration(&first, &stages), None);
        let copy = Outgoing { copy: Some(CopyOf::Redrive), ..first };
        assert_eq!(expiration(&copy, &[]), None);
    }

    #[test]
    fn only_an_event_that_waits_says_its_topic_in_headers() {
        let via = Via { topic: TopicName::foreign("old"), subject: "old.way".into() };
        let forwarded = Envelope { via: Some(via), ..Envelope::default() };
        for outgoing in [to_queue(forwarded.clone()), to_topic(forwarded.clone())] {
            assert_eq!(header_names(&written(&outgoing)), [""; 0]);
        }
        let target = Target::Exchange("orders".to_owned());
        let stages = hops(&Plan::scheduled(Duration::from_secs(1)).unwrap(), &target);
        let delayed = write(&to_topic(forwarded), &stages, NOW).unwrap();
        let headers = ["tramline_delay", "tramline_delay_1s", "tramline_subject", "tramline_topic"];
        assert_eq!(header_names(&delayed), headers);
        assert_eq!(header(&delayed, "tramline_topic").cloned(), text("orders"));
        assert_eq!(header(&delayed, "tramline_delay_1s").cloned(), text("due in orders"));
    }
}
