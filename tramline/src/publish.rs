//! Publishing and sending from outside of handlers: each call ends when the broker has answered.

use crate::bus::Bus;
use crate::{BoxFuture, Failure, Message, MessageId};
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Target;
use tramline_core::draft::{Dispatch, Draft, IntoDraft};
use tramline_core::name::{BadName, QueueName};
use tramline_core::transport::{Outgoing, Sent};
use tramline_core::{Error, ErrorKind, Result};

/// What is known about a message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: MessageId,
    /// Whether any queue got it, where the transport says so. An event that nobody subscribed to
    /// is counted and warned of, and no error unless
    /// [`BusBuilder::require_subscribers`](crate::BusBuilder::require_subscribers) made it one.
    pub routed: Option<bool>,
}

/// Sends a draft through a bus when it is awaited.
#[derive(Debug)]
pub struct ThroughBus<'a> {
    bus: &'a Bus,
    to: To,
}

#[derive(Debug)]
enum To {
    Subscribers,
    Queue(Result<QueueName, BadName>),
    Exchange { name: String, routing_key: String },
}

impl Dispatch for ThroughBus<'_> {
    type Output = Result<Receipt>;

    fn dispatch<'a, M: Message>(self, draft: Draft<'a, M>) -> BoxFuture<'a, Result<Receipt>>
    where
        Self: 'a,
    {
        // What is boxed is small: the message as it is sent, not the draft with all its options.
        let (bus, outgoing) = (self.bus, self.bus.compose(draft, &self.to));
        Box::pin(async move {
            let outgoing = outgoing?;
            let sent = bus.begin_to_send(std::slice::from_ref(&outgoing))?.await;
            let sent = sent.into_iter().next().ok_or_else(|| Error::closed("the bus"))?;
            bus.receipt(&outgoing, sent)
        })
    }
}

impl Bus {
    /// Publishes an event: every queue that subscribed to it gets a copy. Add options, then
    /// `.await`.
    ///
    /// Ends when the message is as durable as the transport makes it. Not cancel-safe: dropped,
    /// the message may or may not have been published.
    pub fn publish<'a, M: Message>(&'a self, event: &'a M) -> Draft<'a, M, ThroughBus<'a>> {
        Draft::of(event).through(ThroughBus { bus: self, to: To::Subscribers })
    }

    /// Sends a command to exactly one queue, which must exist. Add options, then `.await`.
    ///
    /// Ends and is cancelled as [`Bus::publish`].
    pub fn send<'a, M: Message>(
        &'a self,
        queue: &str,
        command: &'a M,
    ) -> Draft<'a, M, ThroughBus<'a>> {
        Draft::of(command).through(ThroughBus { bus: self, to: To::Queue(QueueName::new(queue)) })
    }

    /// Publishes an event that arrives at a moment: [`publish`](Self::publish) with [`Draft::at`], which says what is
    /// refused. It cannot be taken back; [`Bus::schedule`] can. Needs the capability `delay`.
    ///
    /// ```
    /// # #[cfg(feature = "memory")]
    /// # async fn publish() -> Result<(), tramline::core::BoxError> {
    /// # use serde::{Deserialize, Serialize};
    /// # use tramline::{Bus, Message};
    /// # #[derive(Serialize, Deserialize)] struct Remind { order: u64 }
    /// # impl Message for Remind { const NAME: &'static str = "orders.remind"; }
    /// # let bus = Bus::connect("memory:").await?.start().await?;
    /// let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(24 * 60 * 60);
    /// bus.publish_at(tomorrow.into(), &Remind { order: 42 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_at<'a, M: Message>(
        &'a self,
        moment: Timestamp,
        event: &'a M,
    ) -> Draft<'a, M, ThroughBus<'a>> {
        self.publish(event).at(moment)
    }

    /// Publishes an event that arrives after a time, as [`publish_at`](Self::publish_at).
    pub fn publish_after<'a, M: Message>(
        &'a self,
        delay: Duration,
        event: &'a M,
    ) -> Draft<'a, M, ThroughBus<'a>> {
        self.publish(event).delay(delay)
    }

    /// Sends a command that arrives at a moment, as [`publish_at`](Self::publish_at).
    pub fn send_at<'a, M: Message>(
        &'a self,
        moment: Timestamp,
        queue: &str,
        command: &'a M,
    ) -> Draft<'a, M, ThroughBus<'a>> {
        self.send(queue, command).at(moment)
    }

    /// Sends a command that arrives after a time, as [`publish_at`](Self::publish_at).
    pub fn send_after<'a, M: Message>(
        &'a self,
        delay: Duration,
        queue: &str,
        command: &'a M,
    ) -> Draft<'a, M, ThroughBus<'a>> {
        self.send(queue, command).delay(delay)
    }

    /// Publishes to an exchange that this bus does not own, on brokers that have exchanges: for a
    /// topology of others that this service joins. Whoever is bound to it there gets a copy, as the
    /// exchange routes by its kind. It must exist. Add options, then `.await`.
    ///
    /// Ends and is cancelled as [`Bus::publish`]. Other transports refuse it as
    /// [`ErrorKind::Unsupported`].
    pub fn publish_to_exchange<'a, M: Message>(
        &'a self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        message: &'a M,
    ) -> Draft<'a, M, ThroughBus<'a>> {
        let to = To::Exchange { name: exchange.into(), routing_key: routing_key.into() };
        Draft::of(message).through(ThroughBus { bus: self, to })
    }

    /// Publishes many events at once; one answer for each, in order.
    pub async fn publish_all<'a, D: IntoDraft<'a>>(
        &self,
        events: impl IntoIterator<Item = D>,
    ) -> Vec<Result<Receipt>> {
        self.all(events, &To::Subscribers).await
    }

    /// Sends many commands to one queue; one answer for each, in order.
    pub async fn send_all<'a, D: IntoDraft<'a>>(
        &self,
        queue: &str,
        commands: impl IntoIterator<Item = D>,
    ) -> Vec<Result<Receipt>> {
        self.all(commands, &To::Queue(QueueName::new(queue))).await
    }

    /// Those that cannot be composed are answered with their fault, the others are sent.
    async fn all<'a, D: IntoDraft<'a>>(
        &self,
        drafts: impl IntoIterator<Item = D>,
        to: &To,
    ) -> Vec<Result<Receipt>> {
        let composed: Vec<_> = drafts.into_iter().map(|draft| self.compose(draft, to)).collect();
        let mut batch = Vec::with_capacity(composed.len());
        let places: Vec<Result<()>> =
            composed.into_iter().map(|outgoing| outgoing.map(|o| batch.push(o))).collect();
        let mut receipts = self.send_batch(batch).await.into_iter();
        let unanswered = || Err(Error::closed("the bus"));
        let answer =
            |place: Result<()>| place.and_then(|()| receipts.next().unwrap_or_else(unanswered));
        places.into_iter().map(answer).collect()
    }

    fn compose<'a>(&self, draft: impl IntoDraft<'a>, to: &To) -> Result<Outgoing> {
        let target = match to {
            To::Subscribers => Target::Subscribers,
            To::Queue(queue) => Target::Queue(queue.clone().map_err(|bad| {
                Error::new(ErrorKind::Misconfigured, "send a message").because(bad)
            })?),
            To::Exchange { name, routing_key } => {
                Target::Foreign { exchange: name.clone(), routing_key: routing_key.clone() }
            }
        };
        self.scope().compose(draft, target).map_err(|failure: Failure| {
            Error::new(ErrorKind::Refused, "send a message").because(failure.to_string())
        })
    }

    /// Begins to send; what is answered sends.
    fn begin_to_send<'a>(&'a self, batch: &'a [Outgoing]) -> Result<BoxFuture<'a, Vec<Sent>>> {
        if let Some(error) = self.closed() {
            return Err(error);
        }
        Ok(self.sender().send_dyn(batch, self.send_deadline()))
    }

    /// Sends what was composed already.
    ///
    /// # Errors
    /// The first that was not sent; others may have been.
    pub(crate) async fn send_composed(&self, messages: Vec<Outgoing>) -> Result<(), Failure> {
        let answers = self.send_batch(messages).await;
        let sent: Result<Vec<_>> = answers.into_iter().collect();
        sent.map(drop).map_err(Failure::retryable)
    }

    /// Sends one message that was composed already.
    ///
    /// # Errors
    /// It was not sent, or nobody knows.
    pub(crate) async fn send_outgoing(&self, message: Outgoing) -> Result<()> {
        let answer = self.send_batch(vec![message]).await.into_iter().next();
        answer.unwrap_or_else(|| Err(Error::closed("the bus"))).map(drop)
    }

    async fn send_batch(&self, batch: Vec<Outgoing>) -> Vec<Result<Receipt>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let sent = match self.begin_to_send(&batch) {
            Ok(sending) => sending.await,
            Err(error) => return batch.iter().map(|_| Err(error.clone())).collect(),
        };
        let answers = batch.iter().zip(sent);
        answers.map(|(outgoing, sent)| self.receipt(outgoing, sent)).collect()
    }

    fn receipt(&self, outgoing: &Outgoing, sent: Sent) -> Result<Receipt> {
        let routed = match sent {
            Sent::Accepted { routed } => routed,
            Sent::Refused(error) | Sent::Unknown(error) => {
                return self.inner().stopping.heard(Err(error));
            }
        };
        if routed == Some(false) {
            self.inner().unrouted.answer(&outgoing.to)?;
        }
        let id = outgoing.envelope.id.clone().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("send to {}: it has no id", outgoing.to))
        })?;
        Ok(Receipt { id, routed })
    }
}
