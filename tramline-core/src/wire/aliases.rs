//! What other buses write. Their headers are read here, and not taken out.

use super::read::{Complaint, id, or_complain};
use super::value::{self, Why};
use crate::clock::Timestamp;
use crate::headers::{HeaderValue, Headers};
use crate::id::MessageId;
use uuid::Uuid;

/// Of the Kafka binding, and of the AMQP binding before and since version 1.0.3.
const CLOUD_EVENTS_PREFIXES: [&str; 3] = ["ce_", "cloudEvents:", "cloudEvents_"];

/// The Kafka binding of CloudEvents writes the first, MassTransit the second.
const CONTENT_TYPES: [&str; 2] = ["content-type", "Content-Type"];

/// Metadata that a foreign sender gave.
#[derive(Default)]
pub(super) struct Foreign {
    pub(super) id: Option<MessageId>,
    pub(super) name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) sent_at: Option<Timestamp>,
    pub(super) correlation_id: Option<String>,
    pub(super) conversation_id: Option<MessageId>,
    pub(super) key: Option<String>,
    pub(super) traceparent: Option<String>,
}

/// What `headers` say in the words of others. CloudEvents, a standard, go before MassTransit.
pub(super) fn read(headers: &Headers, complaints: &mut Vec<Complaint>) -> Foreign {
    let mut asked = Asked { headers, complaints };
    let event = asked.cloud_event();
    let message = asked.mass_transit();
    Foreign {
        id: event.id.or(message.id),
        name: event.name.or(message.name),
        content_type: CONTENT_TYPES.into_iter().find_map(|name| asked.text(name)),
        correlation_id: message.correlation_id,
        conversation_id: message.conversation_id,
        ..event
    }
}

struct Asked<'a> {
    headers: &'a Headers,
    complaints: &'a mut Vec<Complaint>,
}

impl Asked<'_> {
    fn cloud_event(&mut self) -> Foreign {
        let is_there =
            |prefix: &&str| self.headers.iter().any(|(name, _)| name.starts_with(prefix));
        let Some(prefix) = CLOUD_EVENTS_PREFIXES.into_iter().find(is_there) else {
            return Foreign::default();
        };
        let name = |attribute: &str| format!("{prefix}{attribute}");
        Foreign {
            id: self.cloud_event_id(&name("id"), &name("source")),
            name: self.text(&name("type")),
            sent_at: self.get(&name("time"), value::time),
            key: self.text(&name("partitionkey")),
            traceparent: self.text(&name("traceparent")),
            ..Foreign::default()
        }
    }

    /// An id is unique within its source, and many a source just counts: an inbox that knew only
    /// the id would take the second source's first event for a duplicate, and lose it.
    fn cloud_event_id(&mut self, id_name: &str, source_name: &str) -> Option<MessageId> {
        const NAMESPACE: Uuid = Uuid::from_u128(0x2b1c_9f5e_7a4d_4c83_8e60_636c_6f75_6465);
        let text = self.text(id_name)?;
        let own = id("the CloudEvents id", &text, self.complaints)?;
        if own.as_uuid().is_some() {
            return Some(own);
        }
        let Some(source) = self.text(source_name) else { return Some(own) };
        // A source is a URI reference and holds no blank, so no other pair joins to this text.
        let both = format!("{source} {text}");
        let hash = || Uuid::new_v5(&NAMESPACE, both.as_bytes()).into();
        Some(both.parse().unwrap_or_else(|_| hash()))
    }

    fn mass_transit(&mut self) -> Foreign {
        Foreign {
            id: self.id("MessageId"),
            name: self.text("MT-MessageType").map(|urns| most_specific(&urns)),
            correlation_id: self.text("CorrelationId"),
            conversation_id: self.id("ConversationId"),
            ..Foreign::default()
        }
    }

    fn id(&mut self, name: &'static str) -> Option<MessageId> {
        let text = self.text(name)?;
        id(name, &text, self.complaints)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.get(name, value::text)
    }

    fn get<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&HeaderValue) -> Result<T, Why>,
    ) -> Option<T> {
        let header = self.headers.get(name)?;
        or_complain(name.to_owned(), read(header), self.complaints)
    }
}

/// MassTransit lists the message's type and then all that it inherits:
/// `urn:message:Contracts:OrderPlaced;urn:message:Contracts:IEvent`.
fn most_specific(urns: &str) -> String {
    let first = urns.split(';').next().unwrap_or(urns).trim();
    first.strip_prefix("urn:message:").unwrap_or(first).to_owned()
}
