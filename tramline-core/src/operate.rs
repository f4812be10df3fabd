//! What operators can see and do: depths, dead letters, redrive.

mod chosen;
mod export;
mod pace;
mod paging;

pub use chosen::Chosen;
pub use pace::Pace;
pub use paging::Paging;

use crate::clock::Timestamp;
use crate::dead::DeathRecord;
use crate::envelope::Envelope;
use crate::filter::Filter;
use crate::id::MessageId;
use crate::name::{QueueName, QueueRef, TopicName};
use crate::topology::Subscription;
use crate::{BoxFuture, Result};
use std::{fmt, sync::Arc, time::Duration};

/// A figure that is known, or the reason why it is not. Never a false 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The figure.
    Known(u64),
    /// Why there is none.
    Unknown(&'static str),
}

impl Figure {
    /// The figure, if it is known.
    pub fn known(self) -> Option<u64> {
        match self {
            Self::Known(figure) => Some(figure),
            Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(figure) => figure.fmt(f),
            Self::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}

/// How much is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Can be taken now, or as soon as what is before it in its order is done.
    pub ready: Figure,
    /// Taken and not settled.
    pub leased: Figure,
    /// Waits for its time.
    pub delayed: Figure,
    /// Dead letters.
    pub dead: Figure,
}

/// One message that was looked at and not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Peeked {
    /// Where it stands: pass the last one's as `after` to go on from there.
    pub position: i64,
    /// The message.
    pub envelope: Arc<Envelope>,
    /// How often handling it failed.
    pub failures: u32,
    /// When it becomes ready, if it is delayed.
    pub due: Option<Timestamp>,
    /// Why it died, for dead letters.
    pub death: Option<DeathRecord>,
}

/// A message that was handled and is kept to be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// Where it stands: pass the last one's as `after` to go on from there.
    pub position: i64,
    /// The message.
    pub envelope: Arc<Envelope>,
    /// How often handling it failed before.
    pub failures: u32,
    /// When it was handled.
    pub at: Timestamp,
}

/// Which dead letters an operation is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those with these ids.
    Ids(Vec<MessageId>),
    /// Those that a filter lets through. `reason` and `error` are names like headers.
    Matching(Filter),
}

/// A redrive: what, and how carefully.
#[derive(Clone, Debug, PartialEq)]
pub struct Redrive {
    /// Which dead letters.
    pub selection: Selection,
    /// Only count them.
    pub dry_run: bool,
    /// At most so many a second; 0 is refused as misconfigured.
    pub rate: Option<u32>,
}

impl Redrive {
    /// All dead letters, at once.
    pub fn all() -> Self {
        Self { selection: Selection::All, dry_run: false, rate: None }
    }

    /// The dead letters with these ids, at once.
    pub fn ids(ids: impl IntoIterator<Item = MessageId>) -> Self {
        Self { selection: Selection::Ids(ids.into_iter().collect()), dry_run: false, rate: None }
    }
}

/// Dead letters that died alike.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadGroup {
    /// The message's name.
    pub name: String,
    /// Why they died.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// When the first and the last of them died.
    pub failed: (Timestamp, Timestamp),
}

/// Who is shown dead letters, page by page.
pub trait DeadVisitor: Send {
    /// Takes the next page, in the order of the queue; never an empty one.
    ///
    /// # Errors
    /// End the visit, which fails with them.
    fn visit(&mut self, page: Vec<Peeked>) -> BoxFuture<'_, Result<()>>;
}

/// What operators can see and do. Used as an object only.
///
/// What a transport cannot do, it refuses with [`crate::ErrorKind::Unsupported`].
pub trait Operate: Send + Sync {
    /// The queues that are declared, by name.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueName>>>;

    /// Who subscribed to what.
    fn subscriptions(&self) -> BoxFuture<'_, Result<Vec<Subscription>>>;

    /// How much is in `queue`.
    fn depth<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Depth>>;

    /// Up to `limit` messages that stand behind `after`, in order. Nothing is taken. Dead letters
    /// stand in the order in which they died, or in which they had come, as the transport keeps
    /// them.
    fn peek<'a>(
        &'a self,
        queue: &'a QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Peeked>>>;

    /// The message with this id, wherever in the queue it is.
    fn find<'a>(
        &'a self,
        queue: &'a QueueRef,
        id: &'a MessageId,
    ) -> BoxFuture<'a, Result<Option<Peeked>>>;

    /// Dead letters, counted by name and reason.
    fn groups<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Vec<DeadGroup>>>;

    /// Shows all dead letters of `queue` to `visitor`, in the order of [`peek`](Self::peek), and
    /// answers how many. Nothing is taken, and a page at a time is in memory. What dies meanwhile may
    /// be among them or not.
    ///
    /// # Errors
    /// Those of the visitor, and of the transport as for `peek`. What was shown until then was there.
    fn visit_dead<'a>(
        &'a self,
        queue: &'a QueueName,
        visitor: &'a mut dyn DeadVisitor,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let queue = QueueRef::Dead(queue.clone());
            let (mut paging, mut after, mut count) = (Paging::new(), None, 0);
            loop {
                let page = self.peek(&queue, after, paging.next()).await?;
                let Some(last) = page.last() else { return Ok(count) };
                after = Some(last.position);
                count += page.len() as u64;
                paging.heard(&page);
                visitor.visit(page).await?;
            }
        })
    }

    /// Puts dead letters back into the queue that failed, never the topic: failures 0, expiry
    /// cleared, the same id. Answers how many.
    fn redrive<'a>(&'a self, queue: &'a QueueName, what: Redrive) -> BoxFuture<'a, Result<u64>>;

    /// Removes everything that is ready, as [`Depth::ready`] counts it. Answers how many.
    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>>;

    /// Up to `limit` handled messages that stand behind `after`, in the order in which they were
    /// handled, of a queue that [keeps them](crate::topology::QueueSpec::keep_completed). What it
    /// has kept for long enough is not among them.
    fn completed<'a>(
        &'a self,
        queue: &'a QueueName,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>>;

    /// Subscriptions that those who declared their queue last did not ask for any more. They still
    /// get messages: nobody but an operator ends them, by [`unsubscribe`](Self::unsubscribe).
    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>>;

    /// Ends a subscription. Answers whether there was one.
    fn unsubscribe<'a>(
        &'a self,
        queue: &'a QueueName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<bool>>;

    /// How long the oldest ready message has waited, if there is one and the transport knows.
    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>>;
}
