//! Reading what somebody else wrote or broke.

use super::samples::{full_envelope, full_record};
use crate::clock::Timestamp;
use crate::dead::Reason;
use crate::headers::{HeaderValue, Headers};
use crate::wire::{Native, Received, names, read, write};
use bytes::Bytes;

fn read_alone(name: &str, value: impl Into<HeaderValue>) -> Received {
    let headers = Headers::from_iter([(name, value.into())]);
    read(Native::default(), headers, Bytes::new())
}

#[test]
fn each_malformed_header_is_left_out_with_one_complaint_and_the_rest_is_kept() {
    let whole = write(&full_envelope(), &full_record(), &Native::default());
    let ours = whole.iter().map(|(name, _)| name.to_owned()).filter(|name| name != "region");
    for name in ours.filter(|name| name != names::RETRY_COUNT) {
        let mut without = whole.clone();
        without.remove(&name);
        // The bus wrote both counts, so both are taken out, whatever became of one.
        if name == names::FAILURES {
            without.remove(names::RETRY_COUNT);
        }
        let mut broken = whole.clone();
        broken.insert(name.clone(), Bytes::from_static(b"\xff"));
        let broken = read(Native::default(), broken, Bytes::new());
        let without = read(Native::default(), without, Bytes::new());
        assert_eq!((broken.envelope, broken.record), (without.envelope, without.record), "{name}");
        let [complaint] = &*broken.complaints else { panic!("{name}: {:?}", broken.complaints) };
        assert_eq!(complaint.of, name);
    }
}

#[test]
fn values_that_mean_nothing_are_complained_about() {
    let long_id = "x".repeat(129);
    for (name, value, why) in [
        (names::SENT_AT, "soon".into(), "\"soon\" is no time"),
        (names::VERSION, "2.5".into(), "\"2.5\" is not a whole number in range"),
        (names::VERSION, HeaderValue::Float(2.5), "\"2.5\" is not a whole number in range"),
        (names::FAILURES, HeaderValue::Int(-1), "\"-1\" is not a whole number in range"),
        (names::FAILURES, HeaderValue::Bool(true), "\"true\" is not a whole number in range"),
        (names::PRIORITY, HeaderValue::Int(256), "\"256\" is not a whole number in range"),
        (names::ERRORS, "[{}]".into(), "missing field `at` at line 1 column 3"),
        (
            names::ID,
            long_id.as_str().into(),
            "failed to read a message id: 129 bytes are more than 128",
        ),
    ] {
        let received = read_alone(name, value);
        let [complaint] = &*received.complaints else { panic!("{name}") };
        assert_eq!((&*complaint.of, complaint.why.as_str()), (name, why));
        assert_eq!(received, Received { complaints: received.complaints.clone(), ..empty() });
    }
    let complaint = &read_alone(names::SENT_AT, "n".repeat(9999)).complaints[0];
    assert!(complaint.to_string().starts_with("left out tramline_sent_at: \"nnn"));
    assert!(complaint.why.len() < 100, "a complaint floods no log");
    let text = serde_json::to_string(&[&"n".repeat(9999)]).unwrap();
    let complaint = &read_alone(names::ERRORS, text).complaints[0];
    assert!(complaint.why.starts_with("invalid type: string \"nnn"), "{}", complaint.why);
    assert!(complaint.why.len() <= 256, "nor does what a parser says");
}

fn empty() -> Received {
    read(Native::default(), Headers::new(), Bytes::new())
}

#[test]
fn numbers_are_read_from_text_bytes_and_whole_floats() {
    let values = [
        HeaderValue::Int(3),
        HeaderValue::Float(3.0),
        "3".into(),
        " 3\n".into(),
        Bytes::from_static(b"3").into(),
    ];
    for value in values {
        let received = read_alone(names::FAILURES, value.clone());
        assert_eq!((received.record.failures, received.complaints), (3, vec![]), "{value:?}");
    }
}

#[test]
fn texts_are_read_from_numbers_and_bytes() {
    let values = [("42".into(), "42"), (HeaderValue::Int(42), "42")];
    for (value, expected) in values.into_iter().chain([(Bytes::from_static(b"k").into(), "k")]) {
        assert_eq!(read_alone(names::KEY, value).envelope.key.as_deref(), Some(expected));
    }
}

#[test]
fn times_are_milliseconds_and_microseconds_are_not_taken_for_them() {
    let moment = Timestamp::from_millis(1_700_000_000_001);
    let millis = HeaderValue::Int(moment.as_millis());
    for value in [millis, "1700000000001".into(), "2023-11-14T22:13:20.001Z".into()] {
        let received = read_alone(names::SENT_AT, value.clone());
        assert_eq!(received.envelope.sent_at, Some(moment), "{value:?}");
    }
    let received = read_alone(names::SENT_AT, moment.as_micros());
    assert_eq!((received.envelope.sent_at, received.complaints.len()), (None, 1));
}

#[test]
fn a_retry_count_alone_is_not_trusted_and_stays_a_header() {
    let received = read_alone(names::RETRY_COUNT, 7);
    assert_eq!(received.record.failures, 0);
    assert_eq!(received.envelope.headers, Headers::from_iter([(names::RETRY_COUNT, 7)]));
    let both = Headers::from_iter([(names::RETRY_COUNT, 7), (names::FAILURES, 2)]);
    let received = read(Native::default(), both, Bytes::new());
    assert_eq!((received.record.failures, received.envelope.headers), (2, Headers::new()));
}

#[test]
fn our_header_counts_before_the_brokers_property_and_a_broken_one_does_not() {
    let native = || Native {
        id: Some("native".to_owned()),
        sent_at: Some(Timestamp::from_millis(1_700_000_000_000)),
        ..Native::default()
    };
    let sent_at = |value: HeaderValue| {
        let headers = Headers::from_iter([(names::SENT_AT, value)]);
        read(native(), headers, Bytes::new()).envelope.sent_at.map(Timestamp::as_millis)
    };
    assert_eq!(sent_at(HeaderValue::Int(1_700_000_000_789)), Some(1_700_000_000_789));
    assert_eq!(sent_at("soon".into()), Some(1_700_000_000_000));

    let headers = Headers::from_iter([(names::ID, "ours")]);
    let received = read(native(), headers, Bytes::new());
    assert_eq!(received.envelope.id.unwrap().to_string(), "ours");
}

#[test]
fn a_native_id_that_is_too_long_is_none_and_an_empty_one_is_no_matter() {
    let read_id = |id: String| {
        let received =
            read(Native { id: Some(id), ..Native::default() }, Headers::new(), Bytes::new());
        assert_eq!(received.envelope.id, None);
        received.complaints
    };
    let [complaint] = &*read_id("x".repeat(129)) else { panic!("no complaint") };
    assert_eq!(complaint.of, "the native id");
    assert_eq!(read_id(String::new()), []);
}

#[test]
fn a_topic_without_a_subject_takes_the_name_for_it() {
    let headers = Headers::from_iter([(names::TOPIC, "orders"), (names::MESSAGE, "orders.paid")]);
    let via = read(Native::default(), headers, Bytes::new()).envelope.via.unwrap();
    assert_eq!((via.topic.as_str(), &*via.subject), ("orders", "orders.paid"));
    let subject = read_alone(names::SUBJECT, "orders.paid");
    assert_eq!(subject.envelope.via, None, "a subject alone is no way through a topic");
}

#[test]
fn a_dead_letter_whose_time_was_lost_died_with_its_last_failure() {
    let mut headers = write(&full_envelope(), &full_record(), &Native::default());
    headers.remove(names::FAILED_AT);
    let death = read(Native::default(), headers, Bytes::new()).record.death.unwrap();
    assert_eq!(death.reason, Reason::Exhausted);
    assert_eq!(death.failed_at, Timestamp::from_millis(1_700_000_002_000));
}
