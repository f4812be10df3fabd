//! The inbox: which messages an endpoint has handled.

use crate::envelope::Envelope;
use crate::id::MessageId;
use std::{hash::Hasher, sync::Arc};

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
            body_hash: fnv1a(&envelope.body),
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

/// FNV-1a, 64 bits: <https://www.rfc-editor.org/rfc/rfc9923>. Stable across versions and machines,
/// which the standard hashers do not promise.
fn fnv1a(bytes: &[u8]) -> i64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(bytes);
    hasher.finish() as i64
}
