//! What is written is read back, however much of it the broker carries by itself.

use super::samples::{all_native, envelopes, full_envelope, full_record, headers, records, values};
use crate::clock::Timestamp;
use crate::envelope::Envelope;
use crate::headers::HeaderValue;
use crate::name::{QueueName, QueueRef, TopicName};
use crate::transport::{CopyOf, Destination, Outgoing};
use crate::wire::{Native, Received, Record, names, read, typed, untyped, write};
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn a_full_message_comes_back_with_nothing_native_and_with_everything_native() {
    let (envelope, record) = (full_envelope(), full_record());
    for native in [Native::default(), all_native(&envelope)] {
        let headers = write(&envelope, &record, &native);
        let received = read(native, headers, envelope.body.clone());
        assert_eq!(received, complete(&envelope, &record));
    }
}

#[test]
fn an_empty_message_needs_no_header_and_is_of_the_first_version() {
    let headers = write(&Envelope::default(), &Record::default(), &Native::default());
    assert!(headers.is_empty(), "{headers:?}");
    let received = read(Native::default(), headers, Default::default());
    let first = Envelope { version: 1, ..Envelope::default() };
    assert_eq!(received, complete(&first, &Record::default()));
}

#[test]
fn an_endless_time_to_live_ends_with_the_year_9999() {
    let expires_at = Some(Timestamp::from_micros(i64::MAX));
    let envelope = Envelope { expires_at, version: 1, ..Envelope::default() };
    let headers = write(&envelope, &Record::default(), &Native::default());
    let received = read(Native::default(), headers, Default::default());
    let last = Some(Timestamp::from_millis(253_402_300_799_999));
    assert_eq!(received.envelope.expires_at, last);
    assert_eq!(received.complaints, []);
}

#[test]
fn what_is_recorded_with_a_copy_is_what_the_engine_said() {
    let now = Timestamp::from_millis(1_700_000_003_000);
    let queue = QueueName::foreign("payment");
    let full = full_record();
    let (failures, history, marks) = (full.failures, full.history.clone(), full.marks);
    let outgoing = |to, copy| Outgoing { to, envelope: Default::default(), due: None, copy };
    let main = || Destination::Queue(QueueRef::Main(queue.clone()));
    let dead = || Destination::Queue(QueueRef::Dead(queue.clone()));

    let copy = CopyOf::Retry { failures, history: history.clone(), marks };
    let retried = Record { death: None, ..full.clone() };
    assert_eq!(Record::of(&outgoing(main(), Some(copy)), now), retried);
    assert_eq!(retried.death_record(), None);

    let reason = full.death.clone().unwrap().reason;
    let copy = CopyOf::DeadLetter { reason, failures, history };
    let letter = Record { marks: Default::default(), ..full.clone() };
    assert_eq!(Record::of(&outgoing(dead(), Some(copy)), now), letter);
    let death = letter.death_record().unwrap();
    assert_eq!((death.failures, &death.history), (full.failures, &full.history));

    let topic = Destination::Topic { name: TopicName::foreign("orders"), subject: "s".into() };
    for fresh in [outgoing(main(), Some(CopyOf::Redrive)), outgoing(main(), None)] {
        assert_eq!(Record::of(&fresh, now), Record::default());
    }
    assert_eq!(Record::of(&outgoing(topic, None), now), Record::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Ids, times and numbers are short; a limit that forgot a text would be none.
    #[test]
    fn every_text_counts_in_the_size_of_the_headers(envelope in envelopes()) {
        let short = [names::ID, names::CAUSATION_ID, names::CONVERSATION_ID];
        let headers = write(&envelope, &Record::default(), &Native::default());
        let counted = headers.iter().map(|(name, value)| match value {
            _ if envelope.headers.get(name).is_some() => name.len() + value.size(),
            HeaderValue::Text(text) if !short.contains(&name) => text.len(),
            _ => 0,
        });
        prop_assert_eq!(envelope.header_bytes(), counted.sum::<usize>());
    }

    #[test]
    fn reading_undoes_writing(
        envelope in envelopes(),
        record in records(),
        carried in any::<[bool; 11]>(),
    ) {
        let native = some_of(all_native(&envelope), carried);
        let headers = write(&envelope, &record, &native);
        let received = read(native, headers, envelope.body.clone());
        prop_assert_eq!(received, complete(&envelope, &record));
    }

    #[test]
    fn reading_undoes_writing_where_headers_are_bytes(
        envelope in envelopes(),
        record in records(),
    ) {
        let headers = write(&envelope, &record, &Native::default());
        let received = read(Native::default(), typed(untyped(&headers)), envelope.body.clone());
        prop_assert_eq!(received, complete(&envelope, &record));
    }

    /// Any value under any name of ours: a complaint for each that cannot be read, and no more.
    #[test]
    fn whatever_stands_in_our_headers_harms_no_others(
        users in headers(),
        ours in proptest::collection::vec((select(&names::RESERVED), values()), 0..9),
    ) {
        let mut all = users.clone();
        for (name, value) in &ours {
            all.insert(*name, value.clone());
        }
        let received = read(Native::default(), all, Default::default());
        prop_assert_eq!(received.envelope.headers, users);
        for complaint in received.complaints {
            prop_assert!(ours.iter().any(|(name, _)| *name == complaint.of), "{}", complaint);
        }
    }
}

fn complete(envelope: &Envelope, record: &Record) -> Received {
    Received { envelope: envelope.clone(), record: record.clone(), complaints: Vec::new() }
}

fn some_of(native: Native, carried: [bool; 11]) -> Native {
    let [id, name, content_type, sent_at, correlation_id, reply_to, key, expires_at, ..] = carried;
    let [.., priority, topic, subject] = carried;
    Native {
        id: native.id.filter(|_| id),
        name: native.name.filter(|_| name),
        content_type: native.content_type.filter(|_| content_type),
        sent_at: native.sent_at.filter(|_| sent_at),
        correlation_id: native.correlation_id.filter(|_| correlation_id),
        reply_to: native.reply_to.filter(|_| reply_to),
        key: native.key.filter(|_| key),
        expires_at: native.expires_at.filter(|_| expires_at),
        priority: native.priority.filter(|_| priority),
        topic: native.topic.filter(|_| topic),
        subject: native.subject.filter(|_| subject),
    }
}
