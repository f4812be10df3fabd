//! What a handler publishes leaves only if it succeeds.

use crate::Failure;
use crate::handler::{FromContext, Requirements};
use crate::pipeline::{Context, Page};
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::compose::{Parent, Publishing, Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;

/// Collects messages while a handler runs.
///
/// In a transactional endpoint they are part of the transaction; elsewhere they are sent after
/// the handler has succeeded and before the message is acked, so at least once. Their ids are
/// derived from the handled message: a handler that runs twice publishes the same ids.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tramline::{Failure, Message, Outbox};
/// # #[derive(Serialize, Deserialize)] struct OrderPlaced { id: u64 }
/// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
/// # #[derive(Serialize, Deserialize)] struct OrderPaid { id: u64 }
/// # impl Message for OrderPaid { const NAME: &'static str = "orders.paid"; }
/// use tramline::Draft;
///
/// async fn pay(order: OrderPlaced, outbox: Outbox) -> Result<(), Failure> {
///     let paid = OrderPaid { id: order.id };
///     outbox.publish(Draft::of(&paid).key(order.id.to_string()))
/// }
/// ```
#[derive(Debug)]
pub struct Outbox {
    scope: Scope,
    page: Page,
}

impl Outbox {
    /// Publishes an event, `&event` or a [`crate::Draft`] of it.
    ///
    /// # Errors
    /// A permanent failure: the event cannot be encoded, a name or header is not allowed, or the
    /// run has ended and a task of it that was left behind still publishes.
    pub fn publish<'a>(&self, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        self.page.push(self.scope.compose(draft, Target::Subscribers)?)
    }

    /// Sends a command to exactly one queue.
    ///
    /// # Errors
    /// As [`Outbox::publish`], and for a bad queue name.
    pub fn send<'a>(&self, queue: &str, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        self.page.push(self.scope.compose(draft, Target::Queue(queue))?)
    }

    /// Publishes an event that arrives at a moment, as [`Draft::at`](crate::Draft::at).
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and for a moment that is more than a minute in the past.
    pub fn publish_at<'a>(
        &self,
        moment: Timestamp,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.publish(draft.into_draft().at(moment))
    }

    /// Publishes an event that arrives after a time.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_after<'a>(
        &self,
        delay: Duration,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.publish(draft.into_draft().delay(delay))
    }

    /// Sends a command that arrives at a moment.
    ///
    /// # Errors
    /// As [`send`](Self::send), and for a moment that is more than a minute in the past.
    pub fn send_at<'a>(
        &self,
        moment: Timestamp,
        queue: &str,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.send(queue, draft.into_draft().at(moment))
    }

    /// Sends a command that arrives after a time.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_after<'a>(
        &self,
        delay: Duration,
        queue: &str,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.send(queue, draft.into_draft().delay(delay))
    }

    /// Publishes to an exchange that this bus does not own, as
    /// [`Bus::publish_to_exchange`](crate::Bus::publish_to_exchange) does.
    ///
    /// # Errors
    /// As [`Outbox::publish`].
    pub fn publish_to_exchange<'a>(
        &self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        self.page.push(self.scope.compose(draft, Target::Foreign { exchange, routing_key })?)
    }
}

impl FromContext for Outbox {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(Self { scope: scope(cx), page: cx.buffer.page() })
    }
    fn requires(requirements: &mut Requirements) {
        requirements.publishes();
        requirements.single_message("Outbox (use `item.publish`)");
    }
}

/// The scope of what is at work outside of any transaction: a message, or a domain event that no message
/// has caused.
pub(crate) fn scope(cx: &Context) -> Scope {
    let by_message = cx.event.as_ref().is_none_or(|raised| raised.by_message);
    let parent = by_message.then(|| Parent {
        id: cx.message.id.clone(),
        envelope: cx.message.envelope.clone(),
        endpoint: cx.surroundings.identity.clone(),
    });
    let composer = cx.surroundings.composer.clone();
    Scope { parent, ..Scope::outside(composer, Publishing::Outbox) }
}
