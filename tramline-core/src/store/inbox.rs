//! The inbox: which messages an endpoint has handled.

use crate::digest::fnv1a;
use crate::envelope::Envelope;
use crate::id::MessageId;
use std::sync::Arc;

/// What an endpoint remembers a message by: the sender's idempotency key, else the message's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboxKey {
    /// The endpoint, with its queue where that has another name: two services may call an
    /// endpoint the same.
    pub endpoint: Arc<str>,
    /// The message's name; the same id under another name is another message.
    pub message: String,
    /// The key, with what it is in front: a sender's key `order-7` is not the id `order-7`.
    pub key: String,
}

/// A message as an inbox sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it is remembered by.
    pub key: InboxKey,
    /// Its id.
    pub id: MessageId,
    /// A hash of its body, which tells a key that came again from a key that was reused.
    pub body_hash: i64,
    /// The sender set an idempotency key.
    pub keyed: bool,
}

impl Sighting {
    /// How `endpoint` sees a message that is known by `id`.
    pub fn new(endpoint: &Arc<str>, id: &MessageId, envelope: &Envelope) -> Self {
        let keyed = envelope.idempotency_key.as_deref();
        Self {
            key: InboxKey {
                endpoint: endpoint.clone(),
                message: envelope.name.as_deref().unwrap_or_default().to_owned(),
                key: match keyed {
                    Some(key) => format!("key {key}"),
                    None => format!("id {id}"),
                },
            },
            id: id.clone(),
            body_hash: fnv1a(&envelope.body) as i64,
            keyed: keyed.is_some(),
        }
    }

    /// Whether this message is the one that an inbox row with `id` and `body_hash` stands for.
    ///
    /// The same id is the same message, whatever its body; the same key under another id is the
    /// same only with the same body.
    pub fn is_same(&self, id: &str, body_hash: i64) -> bool {
        !self.keyed || self.id.to_string() == id || self.body_hash == body_hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message with this id, name, key and body, as an endpoint sees it.
    type Seen = (String, String, Option<String>, Vec<u8>, String);

    fn sighting((id, name, key, body, endpoint): &Seen) -> Sighting {
        let envelope = Envelope {
            name: Some(name.clone().into()),
            idempotency_key: key.clone(),
            body: body.clone().into(),
            ..Envelope::default()
        };
        let id = id.parse().expect("one to 128 bytes are an id");
        Sighting::new(&endpoint.as_str().into(), &id, &envelope)
    }

    /// Few letters, and words that are in front of keys, so that much is alike.
    fn seen() -> impl Strategy<Value = Seen> {
        let texts = || prop_oneof!["[ab]", "(id|key) [ab]"];
        let key = proptest::option::of(prop_oneof![texts(), Just(String::new())]);
        (texts(), "[ab]?", key, proptest::collection::vec(0_u8..2, 0..2), "[ab]")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_message_is_known_by_its_key_else_by_its_id_in_its_endpoint_and_under_its_name(
            first in seen(),
            second in seen(),
        ) {
            let known_by = |(id, name, key, _, endpoint): &Seen| {
                let by = key.clone().map_or_else(|| Err(id.clone()), Ok);
                (by, name.clone(), endpoint.clone())
            };
            let (one, other) = (sighting(&first), sighting(&second));
            prop_assert_eq!(one.key == other.key, known_by(&first) == known_by(&second));
        }

        /// A key that comes again with another id was sent twice, or else reused.
        #[test]
        fn of_one_key_a_message_is_the_same_by_its_id_or_its_body(
            (id, name, key, body, endpoint) in seen(),
            (other_id, _, _, other_body, _) in seen(),
        ) {
            let key = Some(key.unwrap_or_default());
            let first = (id, name.clone(), key.clone(), body, endpoint.clone());
            let second = (other_id, name, key, other_body, endpoint);
            let (one, other) = (sighting(&first), sighting(&second));
            let same = one.is_same(&other.id.to_string(), other.body_hash);
            prop_assert_eq!(same, first.0 == second.0 || first.3 == second.3);
            prop_assert_eq!(same, other.is_same(&one.id.to_string(), one.body_hash));
        }
    }
}
