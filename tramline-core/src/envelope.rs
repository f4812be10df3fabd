//! A message on its way: the body and everything that travels beside it.

use crate::clock::Timestamp;
use crate::headers::Headers;
use crate::id::MessageId;
use crate::name::TopicName;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A short text that is often a constant.
pub type Text = Cow<'static, str>;

/// One message as transports carry it. [`crate::wire`] says where each field stands on a broker.
///
/// Serialised without its body: drivers that keep rows store body and metadata apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Envelope {
    /// The message's id. `None` when a foreign sender gave none and the broker has no coordinates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// [`crate::Message::NAME`]; foreign senders may give any name or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// The version of the body's layout.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub version: u32,
    /// The media type of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Text>,
    /// When the sender made the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The business operation that this message belongs to; flows on to what its handler sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The message whose handler sent this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<MessageId>,
    /// The first message of the chain of causes; `None` for that first message itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<MessageId>,
    /// Where an answer goes: an address that only its transport understands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Messages of one key stay in order where a queue keeps order by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The sender's own key against doing the same thing twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// When the message loses its meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Larger is sooner, where the queue has priorities. `None` counts as 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The W3C trace context, passed on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The topic and subject it came through; `None` for direct sends, copies and redrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// The user's headers and the promoted fields.
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// The message and nothing else.
    #[serde(skip)]
    pub body: Bytes,
}

/// The way through a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// The topic that fanned the message out.
    pub topic: TopicName,
    /// What subject filters looked at.
    pub subject: Text,
}

/// Bodies without a version are of version 1, which is not worth writing down.
fn first_version() -> u32 {
    1
}

fn is_first_version(version: &u32) -> bool {
    *version == first_version()
}

impl Envelope {
    /// Bytes that the headers take on the wire, about: everything that can be of any length. Ids,
    /// times and numbers are short and not counted.
    pub fn header_bytes(&self) -> usize {
        let via = self.via.as_ref();
        let texts = [
            self.name.as_deref(),
            self.content_type.as_deref(),
            self.correlation_id.as_deref(),
            self.reply_to.as_deref(),
            self.key.as_deref(),
            self.idempotency_key.as_deref(),
            self.traceparent.as_deref(),
            via.map(|via| via.topic.as_str()),
            via.map(|via| &*via.subject),
        ];
        texts.into_iter().flatten().map(str::len).sum::<usize>() + self.headers.size()
    }

    /// Whether the message has lost its meaning at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_stored_and_read_as_it_was() {
        for version in [0, 1, 2, u32::MAX] {
            let envelope = Envelope { version, ..Envelope::default() };
            let written = serde_json::to_string(&envelope).unwrap();
            assert_eq!(serde_json::from_str::<Envelope>(&written).unwrap(), envelope, "{written}");
        }
        assert_eq!(serde_json::from_str::<Envelope>("{}").unwrap().version, 1);
    }
}
