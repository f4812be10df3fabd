//! Names are refused or follow the grammar; ids keep what they are; no two messages share what an
//! inbox knows them by.
//!
//! The input is two lines.

use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;
use tramline_core::name::{self, NAME_CHARS_MAX, QueueName, QueueRef, TopicName};
use tramline_core::store::{InboxKey, Sighting};

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
    check_name(first);
    check_id(first, second);
    check_inbox(first, second);
}

fn check_name(text: &str) {
    let checked = name::check("endpoint", text);
    assert_eq!(checked.is_ok(), is_name(text.as_bytes()), "{text:?}: {checked:?}");
    assert_eq!(QueueName::new(text).is_ok(), checked.is_ok());
    assert_eq!(TopicName::new(text).is_ok(), checked.is_ok());
    match checked {
        Ok(()) => {
            let dead = QueueRef::Dead(QueueName::foreign(text)).to_string();
            assert!(name::check("queue", &dead).is_err(), "{dead} is for dead letters only");
        }
        Err(bad) => assert!(!bad.to_string().contains('\n'), "{bad}"),
    }
}

/// The grammar, said another way.
fn is_name(text: &[u8]) -> bool {
    let begins = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    text.first().is_some_and(begins)
        && text.len() <= NAME_CHARS_MAX
        && text.iter().all(|byte| begins(byte) || matches!(byte, b'.' | b'-'))
        && !text.ends_with(b"-dlq")
}

fn check_id(text: &str, endpoint: &str) {
    let Ok(id) = text.parse::<MessageId>() else {
        assert!(text.is_empty() || text.len() > 128, "{text:?}");
        return;
    };
    assert_eq!(id.to_string().parse::<MessageId>().as_ref(), Ok(&id));
    assert!(id.as_uuid().is_some() || id.to_string() == text, "a foreign id stays as it is");
    let derived = MessageId::derive(&id, endpoint, 0);
    assert_eq!(derived, MessageId::derive(&id, endpoint, 0));
    assert_ne!(derived, MessageId::derive(&id, endpoint, 1));
    assert_ne!(derived, id);
}

/// A key is not an id, and neither is another one of its kind.
fn check_inbox(first: &str, second: &str) {
    let endpoint: Arc<str> = "payment".into();
    let by_id = |text: &str| {
        let id: MessageId = text.parse().ok()?;
        Some((id.to_string(), Sighting::new(&endpoint, &id, &Envelope::default()).key))
    };
    let by_key = |text: &str| {
        let envelope = Envelope { idempotency_key: Some(text.to_owned()), ..Envelope::default() };
        let id = MessageId::new(Timestamp::default(), 0);
        (text.to_owned(), Sighting::new(&endpoint, &id, &envelope).key)
    };
    let same = |left: &(String, InboxKey), right: &(String, InboxKey)| {
        assert_eq!(left.1 == right.1, left.0 == right.0, "{left:?} and {right:?}");
    };
    same(&by_key(first), &by_key(second));
    if let (Some(left), Some(right)) = (by_id(first), by_id(second)) {
        same(&left, &right);
        assert_ne!(left.1, by_key(first).1);
        assert_ne!(left.1, by_key(second).1);
    }
}
