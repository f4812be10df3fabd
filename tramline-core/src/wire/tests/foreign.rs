//! Messages of CloudEvents and MassTransit senders.

use super::samples::{full_envelope, id};
use crate::clock::Timestamp;
use crate::envelope::Envelope;
use crate::headers::{HeaderValue, Headers};
use crate::wire::{Native, Record, names, read, write};
use bytes::Bytes;

/// Reads `headers`, checks that all of them stay visible, and answers the rest of the envelope.
fn envelope_of(headers: Headers) -> Envelope {
    let received = read(Native::default(), headers.clone(), Bytes::new());
    assert_eq!(received.complaints, []);
    assert_eq!(received.record, Record::default());
    assert_eq!(received.envelope.headers, headers);
    Envelope { headers: Headers::new(), ..received.envelope }
}

/// The example of the Kafka binding, with each attribute that means something here.
fn cloud_event(prefix: &str) -> Headers {
    let attributes = [
        ("specversion", "1.0"),
        ("type", "com.example.someevent"),
        ("source", "/mycontext/subcontext"),
        ("subject", "photos/7.png"),
        ("id", "1234-1234-1234"),
        ("time", "2018-04-05T03:56:24.5Z"),
        ("partitionkey", "mykey"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"),
    ];
    let mut headers: Headers =
        attributes.into_iter().map(|(name, text)| (format!("{prefix}{name}"), text)).collect();
    headers.insert("content-type", "application/avro");
    headers
}

#[test]
fn a_cloud_event_is_read_under_each_prefix() {
    for prefix in ["ce_", "cloudEvents:", "cloudEvents_"] {
        let expected = Envelope {
            id: Some(id("/mycontext/subcontext 1234-1234-1234")),
            name: Some("com.example.someevent".into()),
            version: 1,
            content_type: Some("application/avro".into()),
            sent_at: Some(Timestamp::from_millis(1_522_900_584_500)),
            key: Some("mykey".to_owned()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01".to_owned()),
            ..Envelope::default()
        };
        assert_eq!(envelope_of(cloud_event(prefix)), expected, "{prefix}");
    }
}

#[test]
fn a_time_that_the_amqp_binding_sends_as_a_timestamp_is_read() {
    let headers = Headers::from_iter([("cloudEvents:time", HeaderValue::Int(1_522_900_584_500))]);
    let sent_at = envelope_of(headers).sent_at;
    assert_eq!(sent_at, Some(Timestamp::from_millis(1_522_900_584_500)));
}

#[test]
fn events_of_two_sources_that_count_alike_are_two_messages() {
    let message_id = |source: &str, id: &str| {
        envelope_of(Headers::from_iter([("ce_source", source), ("ce_id", id)])).id.unwrap()
    };
    assert_ne!(message_id("/a", "1"), message_id("/b", "1"));
    assert_eq!(message_id("/a", "1"), message_id("/a", "1"));

    let long = "/s".repeat(100);
    assert_ne!(message_id(&long, "1"), message_id(&long, "2"));
    assert!(message_id(&long, "1").as_uuid().is_some(), "too long together, so it is hashed");

    let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(message_id("/a", uuid), id(uuid), "unique by itself");
    let without_source = envelope_of(Headers::from_iter([("ce_id", "1")]));
    assert_eq!(without_source.id, Some(id("1")));
}

/// What `RawMessageSerializer.SetRawMessageHeaders` writes.
#[test]
fn a_raw_message_of_mass_transit_is_read() {
    let headers = Headers::from_iter([
        ("MessageId", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("CorrelationId", "11890a5d-ac96-774b-bcce-b302099a8057"),
        ("ConversationId", "21890a5d-ac96-774b-bcce-b302099a8057"),
        ("MT-InitiatorId", "31890a5d-ac96-774b-bcce-b302099a8057"),
        ("MT-MessageType", "urn:message:Contracts:OrderPlaced;urn:message:Contracts:IEvent"),
        ("MT-Response-Address", "rabbitmq://localhost/answers"),
        ("MT-Host-Info", "{}"),
        ("Content-Type", "application/json"),
    ]);
    let expected = Envelope {
        id: Some(id("01890a5d-ac96-774b-bcce-b302099a8057")),
        name: Some("Contracts:OrderPlaced".into()),
        version: 1,
        content_type: Some("application/json".into()),
        correlation_id: Some("11890a5d-ac96-774b-bcce-b302099a8057".to_owned()),
        conversation_id: Some(id("21890a5d-ac96-774b-bcce-b302099a8057")),
        ..Envelope::default()
    };
    assert_eq!(envelope_of(headers), expected);
}

#[test]
fn aliases_give_way_to_our_headers_and_to_the_brokers_properties() {
    let mut foreign = cloud_event("ce_");
    foreign.insert("CorrelationId", "theirs");
    foreign.insert("ConversationId", "theirs");
    let ours = Envelope { headers: foreign.clone(), ..full_envelope() };
    let headers = write(&ours, &Record::default(), &Native::default());
    assert_eq!(read(Native::default(), headers, ours.body.clone()).envelope, ours);

    let text = |text: &str| Some(text.to_owned());
    let native = Native {
        id: text("native"),
        name: text("native"),
        content_type: text("native"),
        correlation_id: text("native"),
        key: text("native"),
        ..Native::default()
    };
    let envelope = read(native, foreign, Bytes::new()).envelope;
    assert_eq!(envelope.id, Some(id("native")));
    let texts = [envelope.name.as_deref(), envelope.content_type.as_deref()];
    assert_eq!(texts, [Some("native"); 2]);
    assert_eq!([envelope.correlation_id, envelope.key], [text("native"), text("native")]);
}

#[test]
fn a_broken_alias_is_complained_about_and_stays_visible() {
    let headers = Headers::from_iter([("ce_time", "yesterday"), ("ce_id", &"x".repeat(129))]);
    let received = read(Native::default(), headers.clone(), Bytes::new());
    let complained: Vec<&str> =
        received.complaints.iter().map(|complaint| &*complaint.of).collect();
    assert_eq!(complained, ["the CloudEvents id", "ce_time"]);
    assert_eq!(received.envelope, Envelope { version: 1, headers, ..Envelope::default() });
}

#[test]
fn a_copy_of_a_foreign_message_is_the_same_message() {
    let first = read(Native::default(), cloud_event("ce_"), Bytes::new()).envelope;
    let headers = write(&first, &Record::default(), &Native::default());
    assert_eq!(headers.text(names::ID), Some("/mycontext/subcontext 1234-1234-1234"));
    assert_eq!(read(Native::default(), headers, Bytes::new()).envelope, first);
}
