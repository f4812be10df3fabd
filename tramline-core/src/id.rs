//! Message ids: ours are UUIDs in order of time, foreign ones are short texts.

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};
use uuid::Uuid;

/// The most bytes that a foreign id may have.
pub const FOREIGN_ID_BYTES_MAX: usize = 128;

/// Identifies one message, for ever: copies, retries and redrives keep it.
///
/// Also an extractor, and the idempotency key to hand to a gateway that a handler calls.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(Form);

/// A text that is a UUID in its usual form is always held as one, so that equal ids are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Uuid(Uuid),
    Text(Arc<str>),
}

impl MessageId {
    /// A new id, a UUIDv7 of `now` and random bits: ids made later sort later.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self(Form::Uuid(stamp(now.as_millis() as u64, random, 7)))
    }

    /// The id of the message of a schedule: of `name`, which was given `token`, for the moment `due`. It sorts by
    /// that moment.
    pub fn scheduled(name: &str, token: i64, due: Timestamp) -> Self {
        let name = format!("schedule\n{token}\n{}\n{name}", due.as_micros());
        let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        Self(Form::Uuid(stamp(due.as_millis() as u64, hash.as_u128(), 8)))
    }

    /// The id of the message that `endpoint` publishes as its `ordinal`-th while it handles
    /// `parent`.
    ///
    /// The same arguments give the same id, so a handler that runs twice publishes the same
    /// messages. The time of a UUIDv7 parent is kept in front (as UUIDv8, RFC 9562 §5.8), so that
    /// derived ids, too, sort by time.
    pub fn derive(parent: &Self, endpoint: &str, ordinal: u32) -> Self {
        let name = format!("{parent}\n{endpoint}\n{ordinal}");
        let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        match &parent.0 {
            Form::Uuid(uuid) if matches!(uuid.get_version_num(), 7 | 8) => {
                let millis = (uuid.as_u128() >> 80) as u64;
                Self(Form::Uuid(stamp(millis, hash.as_u128(), 8)))
            }
            _ => Self(Form::Uuid(hash)),
        }
    }

    /// The UUID, if the id is one.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match &self.0 {
            Form::Uuid(uuid) => Some(*uuid),
            Form::Text(_) => None,
        }
    }
}

const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_3bd2_8f5c_4e0b_9a53_7472_616d_6c65);

/// A UUID with `millis` in its first 48 bits, `version`, and the rest from `random`.
fn stamp(millis: u64, random: u128, version: u128) -> Uuid {
    const RANDOM: u128 = (1 << 80) - 1;
    let time = u128::from(millis) << 80;
    let versioned = (time | (random & RANDOM)) & !(0xf << 76) | (version << 76);
    Uuid::from_u128(versioned & !(0b11 << 62) | (0b10 << 62))
}

/// A text that cannot be a message id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessageId {
    /// The text is empty.
    #[error("failed to read a message id: it is empty")]
    Empty,
    /// The text is too long.
    #[error("failed to read a message id: {0} bytes are more than {FOREIGN_ID_BYTES_MAX}")]
    TooLong(usize),
}

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, BadMessageId> {
        const HYPHENATED_LEN: usize = 36;
        if text.is_empty() {
            return Err(BadMessageId::Empty);
        }
        if text.len() > FOREIGN_ID_BYTES_MAX {
            return Err(BadMessageId::TooLong(text.len()));
        }
        if text.len() == HYPHENATED_LEN
            && let Ok(uuid) = Uuid::try_parse(text)
        {
            return Ok(Self(Form::Uuid(uuid)));
        }
        Ok(Self(Form::Text(text.into())))
    }
}

impl TryFrom<String> for MessageId {
    type Error = BadMessageId;

    fn try_from(text: String) -> Result<Self, BadMessageId> {
        text.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.to_string()
    }
}

impl From<Uuid> for MessageId {
    fn from(uuid: Uuid) -> Self {
        Self(Form::Uuid(uuid))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Uuid(uuid) => uuid.fmt(f),
            Form::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_uuids_of_version_7_that_sort_by_time() {
        let early = MessageId::new(Timestamp::from_millis(1_000), u128::MAX);
        let late = MessageId::new(Timestamp::from_millis(1_001), 0);
        assert!(early < late);
        for id in [early, late] {
            let uuid = id.as_uuid().unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn derived_ids_repeat_and_differ_by_parent_endpoint_and_ordinal() {
        let parent = MessageId::new(Timestamp::from_millis(5), 77);
        let derived = MessageId::derive(&parent, "payment", 0);
        assert_eq!(derived, MessageId::derive(&parent, "payment", 0));
        assert_ne!(derived, MessageId::derive(&parent, "payment", 1));
        assert_ne!(derived, MessageId::derive(&parent, "email", 0));
        assert_ne!(derived, MessageId::derive(&derived, "payment", 0));
        assert_eq!(derived.as_uuid().unwrap().as_u128() >> 80, 5, "keeps its parent's time");
    }

    #[test]
    fn a_uuid_in_capitals_is_the_same_id() {
        let id = MessageId::new(Timestamp::from_millis(5), 77);
        assert_eq!(id.to_string().to_uppercase().parse::<MessageId>().unwrap(), id);
    }

    #[test]
    fn foreign_ids_are_texts_of_at_most_128_bytes() {
        assert_eq!("order-7".parse::<MessageId>().unwrap().to_string(), "order-7");
        assert_eq!("".parse::<MessageId>(), Err(BadMessageId::Empty));
        assert_eq!("x".repeat(129).parse::<MessageId>(), Err(BadMessageId::TooLong(129)));
        assert!("x".repeat(128).parse::<MessageId>().is_ok());
    }
}
