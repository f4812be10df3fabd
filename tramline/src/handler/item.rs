//! One message of a batch, and what it publishes.

use crate::pipeline::{Context, Incoming, Page};
use crate::{Failure, Message, MessageId};
use parking_lot::Mutex;
use std::sync::Arc;
use tramline_core::compose::{Parent, Publishing, Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;

/// One message of a batch.
pub struct Item<M> {
    /// The message.
    pub message: M,
    /// Its id.
    pub id: MessageId,
    /// Which run of this message it is: its failures + 1.
    pub attempt: u32,
    scope: Scope,
    page: Page,
    index: usize,
    pen: Pen,
}

/// What one item has published; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Pen(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    /// How many ids were given.
    ordinal: u32,
    /// Where its messages stand on the page.
    places: Vec<usize>,
    /// It has failed: nothing more of it leaves.
    is_over: bool,
}

impl Pen {
    /// Publishes nothing more; answers where that stands which was.
    pub(crate) fn put_down(&self) -> Vec<usize> {
        let mut written = self.0.lock();
        written.is_over = true;
        std::mem::take(&mut written.places)
    }
}

impl<M> Item<M> {
    /// Publishes an event that this item causes. It leaves with the batch's transaction, or after
    /// the handler's success where there is none.
    ///
    /// # Errors
    /// A permanent failure: the event cannot be encoded, a name or header is not allowed, or the
    /// run has ended.
    pub fn publish<'a>(&self, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        self.push(draft, Target::Subscribers)
    }

    /// Sends a command that this item causes to exactly one queue.
    ///
    /// # Errors
    /// As [`Item::publish`], and for a bad queue name.
    pub fn send<'a>(&self, queue: &str, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        self.push(draft, Target::Queue(queue))
    }

    /// Publishes what this item causes to an exchange that this bus does not own, as
    /// [`Bus::publish_to_exchange`](crate::Bus::publish_to_exchange) does.
    ///
    /// # Errors
    /// As [`Item::publish`].
    pub fn publish_to_exchange<'a>(
        &self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        self.push(draft, Target::Foreign { exchange, routing_key })
    }

    fn push<'a>(&self, draft: impl IntoDraft<'a>, target: Target) -> Result<(), Failure> {
        let mut outgoing = self.scope.compose(draft, target)?;
        let mut written = self.pen.0.lock();
        if written.is_over {
            let text = format!("failed to publish to {}: the item has failed", outgoing.to);
            return Err(Failure::permanent(text));
        }
        // Counted for each item, so that ids do not depend on who else is in the batch.
        self.scope.number(&mut outgoing, &mut written.ordinal);
        let place = self.page.place(outgoing)?;
        written.places.push(place);
        Ok(())
    }

    /// Its place in the batch.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn pen(&self) -> Pen {
        self.pen.clone()
    }
}

impl<M: Message> Item<M> {
    /// # Errors
    /// The message cannot be read.
    pub(crate) fn of(
        cx: &Context,
        page: &Page,
        index: usize,
        incoming: &Incoming,
    ) -> Result<Self, Failure> {
        let composer = cx.surroundings.composer.clone();
        let parent = Parent {
            id: incoming.id.clone(),
            envelope: incoming.envelope.clone(),
            endpoint: cx.surroundings.identity.clone(),
        };
        Ok(Self {
            message: cx.surroundings.decode(&incoming.envelope)?,
            id: incoming.id.clone(),
            attempt: incoming.failures.saturating_add(1),
            scope: Scope { parent: Some(parent), ..Scope::outside(composer, Publishing::Outbox) },
            page: page.clone(),
            index,
            pen: Pen::default(),
        })
    }
}

impl<M: std::fmt::Debug> std::fmt::Debug for Item<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
