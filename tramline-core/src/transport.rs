//! The contract of a transport: send, receive, deliver. A driver only translates.

use crate::capabilities::Capabilities;
use crate::clock::{Deadline, Timestamp};
use crate::dead::{FailureNote, History, Reason};
use crate::envelope::{Envelope, Text};
use crate::health::Health;
use crate::name::{QueueName, QueueRef, TopicName};
use crate::operate::Operate;
use crate::settlement::{Marks, Settled, Settlement};
use crate::store::DatabaseId;
use crate::topology::{QueueSpec, Subscription, Topology};
use crate::{Error, Result};
use std::{fmt, sync::Arc};

/// A broker, a database or memory that carries messages.
pub trait Transport: Send + Sync + 'static {
    /// What sends.
    type Sender: Sender;
    /// What receives.
    type Receiver: Receiver;

    /// The driver's name, such as `sqlite`.
    fn name(&self) -> &'static str;

    /// What it can do for such a queue: a quorum and a classic queue differ.
    fn capabilities(&self, queue: &QueueSpec) -> Capabilities;

    /// The database that this transport keeps its messages in, if a store can share it.
    fn database(&self) -> Option<DatabaseId> {
        None
    }

    /// Makes sure that everything in `topology` is there. Idempotent; rules of a subscription are
    /// replaced by those who declare last.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Conflict`] names the argument in which an existing queue differs;
    /// [`crate::ErrorKind::Unsupported`] what this transport cannot do.
    fn declare(&self, topology: &Topology) -> impl Future<Output = Result<()>> + Send;

    /// A sender. Senders are shared, not pooled: one serves many callers.
    fn sender(&self) -> impl Future<Output = Result<Self::Sender>> + Send;

    /// A receiver on `source`, which must have been declared.
    fn receiver(&self, source: &Source) -> impl Future<Output = Result<Self::Receiver>> + Send;

    /// What [`Destination::Address`] carries for messages to reach `queue`, a temporary queue that was declared
    /// through this handle; it may be another after each loss of the connection. `None` where there is no
    /// such queue, or no way to it for others.
    fn address(&self, queue: &QueueName) -> Option<String>;

    /// How it is connected at this moment, for health checks. Answers at once.
    fn health(&self) -> Health {
        Health::Connected
    }

    /// What operators need, where the transport offers it.
    fn operate(&self) -> Option<&dyn Operate>;

    /// Gives up what is still held and lets go of the broker, by `deadline` at the latest.
    fn close(&self, deadline: Deadline) -> impl Future<Output = Result<()>> + Send;
}

/// Sends messages and waits until they are safe.
pub trait Sender: Send + Sync + 'static {
    /// Ends when the broker has answered for every message, or at the deadline: one [`Sent`] each,
    /// in order. A message is `Accepted` only when it is as durable as its queue promises.
    ///
    /// Not cancel-safe: when the future is dropped, each message may or may not have been sent.
    fn send(
        &self,
        batch: &[Outgoing],
        deadline: Deadline,
    ) -> impl Future<Output = Vec<Sent>> + Send;
}

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Where to.
    pub to: Destination,
    /// The message.
    pub envelope: Arc<Envelope>,
    /// Not before this moment.
    pub due: Option<Timestamp>,
    /// This is a copy of a delivered message that the engine sends on behalf of a broker without
    /// native retry or dead letters. Copies pass any duplicate detection.
    pub copy: Option<CopyOf>,
}

/// Why a copy is sent, with what the bus records about the message.
#[derive(Clone, Debug, PartialEq)]
pub enum CopyOf {
    /// Back to its queue after a failure.
    Retry {
        /// The total of failures.
        failures: u32,
        /// Its last failures.
        history: History,
        /// What else is known.
        marks: Marks,
    },
    /// To the dead-letter queue.
    DeadLetter {
        /// Why.
        reason: Reason,
        /// The total of failures.
        failures: u32,
        /// Its last failures.
        history: History,
    },
    /// Out of the dead-letter queue, back to its queue: failures start at zero again.
    Redrive,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// One queue, or its dead letters.
    Queue(QueueRef),
    /// Every queue that subscribed to it.
    Topic {
        /// The topic.
        name: TopicName,
        /// What subject filters look at.
        subject: Text,
    },
    /// An exchange that this bus does not own.
    Foreign {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// An opaque reply address, as [`Transport::address`] gave it to somebody. That it leads nowhere any more
    /// is no error, but routed nowhere: who waited there is gone.
    Address(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "queue {queue}"),
            Self::Topic { name, subject } => write!(f, "topic {name} ({subject})"),
            Self::Foreign { exchange, routing_key } => {
                write!(f, "exchange {exchange} ({routing_key})")
            }
            Self::Address(address) => write!(f, "address {address}"),
        }
    }
}

/// The broker's answer for one message.
#[derive(Debug)]
pub enum Sent {
    /// It is safe.
    Accepted {
        /// Whether any queue got it, where the broker says so.
        routed: Option<bool>,
    },
    /// It was not sent.
    Refused(Error),
    /// The answer was lost: it may have arrived.
    Unknown(Error),
}

impl Sent {
    /// Whether it is safe.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// `Ok` if it is safe, else the error.
    pub fn into_result(self) -> Result<()> {
        match self {
            Self::Accepted { .. } => Ok(()),
            Self::Refused(error) | Self::Unknown(error) => Err(error),
        }
    }
}

/// What a receiver reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The queue, or its dead letters.
    pub queue: QueueRef,
    /// What the queue is, so that brokers can take the right kind of consumer.
    pub spec: QueueSpec,
    /// Its subscriptions, for brokers where each is read by itself.
    pub subscriptions: Vec<Subscription>,
    /// How many deliveries may be unsettled at once; at least 1.
    pub prefetch: u32,
    /// How many it may grow to while they are handled quickly, where one request takes many
    /// messages as cheaply as few; not less than `prefetch`.
    pub prefetch_max: u32,
    /// Where a reader without a committed position begins.
    pub start: Start,
}

impl Source {
    /// `queue` with nothing special, `prefetch` deliveries at once.
    pub fn of(queue: QueueRef, prefetch: u32) -> Self {
        let spec = QueueSpec::new(queue.name().clone());
        Self {
            queue,
            spec,
            subscriptions: Vec::new(),
            prefetch,
            prefetch_max: prefetch,
            start: Start::default(),
        }
    }
}

/// Where a reader without a committed position begins, on brokers that keep what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is sent from now on.
    #[default]
    New,
    /// With the oldest that is kept.
    Oldest,
    /// With what was sent at this moment.
    At(Timestamp),
}

/// Takes messages from one queue.
pub trait Receiver: Send + 'static {
    /// A message that was taken.
    type Delivery: Delivery;

    /// The next message; `None` once stopped and empty. Cancel-safe.
    ///
    /// # Errors
    /// The receiver is of no use any more. What was delivered can still be settled.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Delivery>>> + Send;

    /// Takes nothing more from the broker. `next` still yields what was prefetched, unless the driver
    /// gives that back by itself.
    fn stop(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// A message that was taken and waits for its settlement. Its lease is renewed by the driver.
///
/// A dropped delivery is given back where the broker can, else when its lease, connection or
/// assignment ends.
#[must_use = "an unsettled delivery comes back"]
pub trait Delivery: Send + Sync + 'static {
    /// The message. Its `via` is set only when it came straight through a topic.
    fn envelope(&self) -> &Arc<Envelope>;

    /// How often handling it failed, as the bus has recorded.
    fn failures(&self) -> u32;

    /// How often the broker delivered it, this time included, if it counts (capability
    /// `deliveries`): [`Unheard`](crate::capabilities::DeliveryCount::Unheard) counts those in a row
    /// of which nobody heard the end, [`Raw`](crate::capabilities::DeliveryCount::Raw) returned ones
    /// too. Both count deliveries whose process died or lost its lease, of whatever message, and
    /// begin anew with a retry. A message is suspected to kill processes by either.
    fn deliveries(&self) -> Option<u32>;

    /// Its last failures.
    fn history(&self) -> &[FailureNote];

    /// What else the bus has recorded.
    fn marks(&self) -> Marks;

    /// What lets the ack join a store's transaction.
    fn ticket(&self) -> Option<Ticket>;

    /// Records, durably, that it is now handled alone. Asked of those that may kill the process: of
    /// the third of its [`deliveries`](Self::deliveries) on, or when an earlier trial is known from
    /// its [`marks`](Self::marks).
    fn mark_trial(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Ends when the lease, session or partition is gone; else never. Cancel-safe.
    fn lost(&self) -> impl Future<Output = ()> + Send;

    /// Ends the delivery. When this returns `Done`, it is as durable as the broker makes it.
    ///
    /// # Errors
    /// It is unknown whether the settlement took place: the message may come again.
    fn settle(self, how: Settlement) -> impl Future<Output = Result<Settled>> + Send;

    /// A store's transaction took the ack: frees the slot and sends nothing.
    fn settled_by_store(self);
}

/// Names a delivery inside a database, so that its ack can be part of a transaction there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The database.
    pub database: DatabaseId,
    /// The queue's row in it.
    pub queue: i64,
    /// The message's row.
    pub row: i64,
    /// The lease: no row under it, no ack.
    pub token: i64,
    /// The message was published inside a transaction of this database, so it exists once and
    /// needs no inbox row.
    pub born_here: bool,
}
