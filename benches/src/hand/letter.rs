//! Messages as they stand in the tables.

use crate::Result;
use crate::message::{OrderPaid, OrderPlaced};
use bytes::Bytes;
use tramline::core::clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline::core::envelope::Via;
use tramline::core::name::TopicName;
use tramline::{Envelope, Message, MessageId};

/// A message on its way into a table.
pub(crate) struct Letter {
    pub(crate) envelope: String,
    pub(crate) body: Vec<u8>,
}

/// A message that was taken.
pub(crate) struct Taken {
    pub(super) token: i64,
    pub(super) seq: i64,
    pub(super) envelope: String,
    pub(super) body: Bytes,
}

impl Letter {
    /// An order that somebody places.
    pub(crate) fn placed(order: &OrderPlaced) -> Result<Self> {
        let now = SystemClock.now();
        let id = MessageId::new(now, SystemEntropy.bits());
        Self::write(order, Envelope { id: Some(id), ..addressed::<OrderPlaced>(now)? })
    }

    /// The event that the handler of `parent` publishes.
    pub(crate) fn paid(order: OrderPlaced, parent: &Envelope) -> Result<Self> {
        let parent_id = parent.id.as_ref().ok_or("a message without an id")?;
        let conversation = parent.conversation_id.as_ref().unwrap_or(parent_id);
        let envelope = Envelope {
            id: Some(MessageId::derive(parent_id, super::QUEUE, 0)),
            causation_id: Some(parent_id.clone()),
            conversation_id: Some(conversation.clone()),
            ..addressed::<OrderPaid>(SystemClock.now())?
        };
        Self::write(&OrderPaid(order), envelope)
    }

    fn write<M: Message>(message: &M, envelope: Envelope) -> Result<Self> {
        let body = serde_json::to_vec(message)?;
        Ok(Self { envelope: serde_json::to_string(&envelope)?, body })
    }
}

impl Taken {
    pub(crate) fn read(&self) -> Result<(Envelope, OrderPlaced)> {
        Ok((serde_json::from_str(&self.envelope)?, serde_json::from_slice(&self.body)?))
    }
}

/// What every envelope of an event says.
fn addressed<M: Message>(now: Timestamp) -> Result<Envelope> {
    Ok(Envelope {
        name: Some(M::NAME.into()),
        version: M::VERSION,
        content_type: Some("application/json".into()),
        sent_at: Some(now),
        via: Some(Via { topic: TopicName::new(M::topic())?, subject: M::NAME.into() }),
        ..Envelope::default()
    })
}
