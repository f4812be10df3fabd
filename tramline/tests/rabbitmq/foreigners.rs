//! What clients send that know nothing of us is handled, or is a dead letter that says why not.

use crate::orders::{QUEUE, bus, dead_letters, declared, emptied, next, raw_send, work};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;
use tramline::QueueName;
use tramline::core::dead::Reason;
use tramline_services::testing::{PATIENCE, Vhost};
use tramline_services::testing::{SEND, python, script};

#[tokio::test]
async fn what_pika_sends_without_any_header_is_handled_by_the_only_handler() {
    let Some(vhost) = Vhost::fresh() else { return };
    let Some(python) = python().await else { return };
    let (bus, mut heard) = bus(&vhost).await;
    let bus = bus.endpoint(work()).start().await.unwrap();
    script(python, SEND, &vhost, r#"{"order": 7, "note": "from Python"}"#).await;
    assert_eq!(next(&mut heard).await, 7);
    emptied(&vhost, QUEUE).await;
    assert_eq!(dead_letters(&bus, 0).await, []);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_dead_letter_that_says_so() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (bus, mut heard) = bus(&vhost).await;
    let bus = bus.endpoint(work()).start().await.unwrap();
    let raw = vhost.raw().await;
    for body in [&b"\xff\x00 not JSON"[..], b"", br#"{"order":"seven"}"#, br#"{"order": 8}"#] {
        raw_send(&raw, "", QUEUE, body).await;
    }
    assert_eq!(next(&mut heard).await, 8, "others are handled");
    let mut dead = dead_letters(&bus, 3).await;
    dead.sort_by_key(|dead| dead.envelope.body.len());
    let bodies: Vec<&[u8]> = dead.iter().map(|dead| &dead.envelope.body[..]).collect();
    assert_eq!(bodies, [&b""[..], b"\xff\x00 not JSON", br#"{"order":"seven"}"#]);
    for dead in &dead {
        let death = dead.death.as_ref().expect("a record");
        assert_eq!(death.reason, Reason::Undecodable);
        assert!(!death.history.notes().is_empty(), "the error of the decoder is told");
    }
    emptied(&vhost, QUEUE).await;
}

/// The copy is confirmed before the original is acked: whoever has no room keeps the message where it is.
#[tokio::test]
async fn what_the_dead_letter_queue_does_not_take_stays_until_it_does() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongLongInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    raw.channel.queue_declare("Morgue".into(), options, full).await.unwrap();
    let endpoint = || work().argument("dead-letter-queue", "Morgue");
    declared(&vhost, endpoint()).await;
    raw_send(&raw, "", "Morgue", b"the one that fills it").await;
    raw_send(&raw, "", QUEUE, b"not JSON").await;
    raw_send(&raw, "", QUEUE, br#"{"order":9}"#).await;

    let (bus, mut heard) = bus(&vhost).await;
    let bus = bus.endpoint(endpoint().concurrency(1)).start().await.unwrap();
    // The first one was refused by its dead-letter queue before the second was handled, or is.
    assert_eq!(next(&mut heard).await, 9);
    let purged = raw.channel.queue_purge("Morgue".into(), Default::default()).await.unwrap();
    assert_eq!(purged, 1);
    let dead = dead_letters(&bus, 1).await;
    assert_eq!(dead[0].envelope.body, &b"not JSON"[..]);
    emptied(&vhost, QUEUE).await;
}

#[tokio::test]
async fn dead_letters_of_a_queue_that_others_have_named_are_exported_and_redriven() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let name = QueueName::foreign("Legacy_Orders");
    let theirs = raw.channel.queue_declare(name.as_str().into(), options, FieldTable::default());
    theirs.await.unwrap();
    let (bus, mut heard) = bus(&vhost).await;
    let endpoint = work().queue(name.clone()).argument("declare", "no");
    let bus = bus.endpoint(endpoint).start().await.unwrap();
    raw_send(&raw, "", name.as_str(), b"not JSON").await;
    raw_send(&raw, "", name.as_str(), br#"{"order":4}"#).await;
    assert_eq!(next(&mut heard).await, 4);
    let dead = bus.dead_letters_of(name);
    let exported = async {
        loop {
            let mut file = Vec::new();
            if dead.export(&mut file).await.unwrap() == 1 {
                return String::from_utf8(file).unwrap();
            }
        }
    };
    let line = timeout(PATIENCE, exported).await.expect("a dead letter in time");
    assert!(line.contains(r#""body_base64":"bm90IEpTT04=""#), "{line}");
    assert!(line.contains(r#""reason":"undecodable""#), "{line}");
    assert_eq!(dead.redrive_all().await.unwrap(), 1);
}
