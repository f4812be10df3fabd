//! A draft becomes an envelope: ids, times, correlation and promoted fields are filled in here.

mod promote;

use crate::Failure;
use crate::clock::{Clock, Entropy, Timestamp};
use crate::codec::Encoding;
use crate::draft::{Draft, Due, IntoDraft, Options};
use crate::envelope::{Envelope, Text, Via};
use crate::headers::HeaderValue;
use crate::id::MessageId;
use crate::message::Message;
use crate::name::{QueueName, QueueRef, TopicName};
use crate::transport::{Destination, Outgoing};
use std::time::Duration;
use std::{fmt, sync::Arc};

/// Header names that begin so are the bus's own.
pub const RESERVED_PREFIX: &str = "tramline_";

/// What every message of one bus is made with.
#[derive(Clone)]
pub struct Composer {
    /// How bodies are written.
    pub encoding: Encoding,
    /// What `sent_at` and due times are read from.
    pub clock: Arc<dyn Clock>,
    /// What new ids are made of.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

/// Where messages come from: a handler at work on a message, or a caller outside of any.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What messages are made with.
    pub composer: Arc<Composer>,
    /// The message that is being handled.
    pub parent: Option<Parent>,
    /// What a store makes of published messages.
    pub publishing: Publishing,
    /// Who is told when a call in this scope fails that the bus does not see.
    pub listener: Listener,
}

/// Told of failures, if it is anybody.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Listen>>);

type Listen = dyn Fn(&Failure) + Send + Sync;

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "nobody" })
    }
}

/// The message being handled, and where.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its id; for a message without one, the id that the engine gave this delivery.
    pub id: MessageId,
    /// Its envelope.
    pub envelope: Arc<Envelope>,
    /// The endpoint that handles it.
    pub endpoint: Arc<str>,
}

/// What a store makes of messages that are published inside a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// Queue rows: store and transport are the same database.
    Queues,
    /// Outbox rows, for a relay to send.
    Outbox,
}

/// What a message is for: everybody who subscribed, or exactly one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An event, to its topic.
    Subscribers,
    /// A command, to one queue.
    Queue(QueueName),
    /// By name to an exchange that this bus does not own.
    Foreign {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// An answer, to an opaque reply address.
    Address(String),
}

impl Scope {
    /// A scope outside of any handler.
    pub fn outside(composer: Arc<Composer>, publishing: Publishing) -> Self {
        Self { composer, parent: None, publishing, listener: Listener::default() }
    }

    /// The same scope, whose failures `listener` is told of.
    #[must_use]
    pub fn heard_by(mut self, listener: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.listener = Listener(Some(Arc::new(listener)));
        self
    }

    /// For stores: says that a caller outside of handlers is answered `failure`. The bus, which does
    /// not see such a call, stops if this program is outdated.
    pub fn tell(&self, failure: &Failure) {
        if let Listener(Some(listener)) = &self.listener {
            listener(failure);
        }
    }

    /// Makes `draft` ready to go to `target`.
    ///
    /// With a parent the id stays open until [`Scope::number`], because it depends on the order in
    /// which the handler's messages finally stand.
    ///
    /// # Errors
    /// A permanent failure: the body cannot be encoded, a name, header or key is not allowed, or it was due
    /// more than a minute ago.
    pub fn compose<'a>(
        &self,
        draft: impl IntoDraft<'a>,
        target: Target,
    ) -> Result<Outgoing, Failure> {
        let Draft { message, options, .. } = draft.into_draft();
        let options = options.map_or_else(Options::default, |options| *options);
        check_headers(&options)?;
        let now = self.composer.clock.now();
        let due = options.due.map(|due| match due {
            Due::After(delay) => now.after(delay),
            Due::At(moment) => moment,
        });
        check_due(due, now)?;
        let to = destination(message, &options, target)?;
        let body = self.composer.encoding.encode(message)?;
        let envelope = self.envelope(message, options, &to, body, now, due)?;
        Ok(Outgoing { to, envelope: Arc::new(envelope), due, copy: None })
    }

    fn envelope<M: Message>(
        &self,
        message: &M,
        options: Options,
        to: &Destination,
        body: bytes::Bytes,
        now: Timestamp,
        due: Option<Timestamp>,
    ) -> Result<Envelope, Failure> {
        let parent = self.parent.as_ref();
        let mut headers = options.headers;
        promote::promote(message, &body, &self.composer.encoding, &mut headers)?;
        let id = options.id.or_else(|| match parent {
            Some(_) => None,
            None => Some(MessageId::new(now, self.composer.entropy.bits())),
        });
        Ok(Envelope {
            id,
            name: Some(Text::Borrowed(M::NAME)),
            version: M::VERSION,
            content_type: Some(Text::Borrowed(self.composer.encoding.content_type())),
            sent_at: Some(now),
            correlation_id: options
                .correlation_id
                .or_else(|| parent?.envelope.correlation_id.clone()),
            causation_id: parent.map(|parent| parent.id.clone()),
            conversation_id: parent.map(|parent| {
                parent.envelope.conversation_id.clone().unwrap_or_else(|| parent.id.clone())
            }),
            reply_to: options.reply_to,
            key: options.key,
            idempotency_key: options.idempotency_key,
            expires_at: options.ttl.map(|ttl| due.unwrap_or(now).after(ttl)),
            priority: options.priority,
            traceparent: parent.and_then(|parent| parent.envelope.traceparent.clone()),
            via: match to {
                Destination::Topic { name, subject } => {
                    Some(Via { topic: name.clone(), subject: subject.clone() })
                }
                _ => None,
            },
            headers,
            body,
        })
    }

    /// Gives `outgoing` its id if it has none yet: the `ordinal`-th of its handler's messages.
    /// Counts `ordinal` on in any case, so that an explicit id does not shift the others.
    pub fn number(&self, outgoing: &mut Outgoing, ordinal: &mut u32) {
        if outgoing.envelope.id.is_none() {
            let id = match &self.parent {
                Some(parent) => MessageId::derive(&parent.id, &parent.endpoint, *ordinal),
                None => {
                    let now = self.composer.clock.now();
                    MessageId::new(now, self.composer.entropy.bits())
                }
            };
            Arc::make_mut(&mut outgoing.envelope).id = Some(id);
        }
        *ordinal += 1;
    }
}

fn destination<M: Message>(
    _message: &M,
    options: &Options,
    target: Target,
) -> Result<Destination, Failure> {
    Ok(match target {
        Target::Subscribers => Destination::Topic {
            name: match &options.topic {
                Some(topic) => topic.clone(),
                None => TopicName::of::<M>().map_err(Failure::permanent)?,
            },
            subject: options.subject.clone().map_or(Text::Borrowed(M::NAME), Text::Owned),
        },
        Target::Queue(queue) => Destination::Queue(QueueRef::Main(queue)),
        Target::Foreign { exchange, routing_key } => Destination::Foreign { exchange, routing_key },
        Target::Address(address) => Destination::Address(address),
    })
}

/// By how much the clocks of machines may differ: what was due so long ago is due at once.
const PAST_MAX: Duration = Duration::from_secs(60);

fn check_due(due: Option<Timestamp>, now: Timestamp) -> Result<(), Failure> {
    let late = due.map_or(Duration::ZERO, |due| now.since(due));
    if late <= PAST_MAX {
        return Ok(());
    }
    Err(Failure::permanent(format!("failed to plan a message: its time is {late:?} in the past")))
}

fn check_headers(options: &Options) -> Result<(), Failure> {
    for (name, value) in options.headers.iter() {
        if matches!(value, HeaderValue::Float(float) if !float.is_finite()) {
            return Err(Failure::permanent(format!(
                "failed to set header {name:?}: no broker carries a number that is not finite"
            )));
        }
    }
    match options.headers.iter().find(|(name, _)| name.starts_with(RESERVED_PREFIX)) {
        Some((name, _)) => Err(Failure::permanent(format!(
            "failed to set header {name:?}: names that begin with {RESERVED_PREFIX} are reserved"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
