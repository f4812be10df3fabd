//! A message with its options, not yet sent: the same builder on bus, outbox and database.

use crate::BoxFuture;
use crate::clock::Timestamp;
use crate::headers::{HeaderValue, Headers};
use crate::id::MessageId;
use crate::message::Message;
use crate::name::TopicName;
use std::time::Duration;

/// A message with its options.
///
/// `bus.publish(&m)` answers a draft that is sent by `.await`; `outbox.publish` and `db.publish`
/// take `&m`, or `Draft::of(&m)` with options.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tramline_core::{Message, draft::Draft};
/// # #[derive(Serialize, Deserialize)]
/// # struct Ping;
/// # impl Message for Ping { const NAME: &'static str = "ping"; }
/// use std::time::Duration;
/// let draft = Draft::of(&Ping).key("customer-7").header("region", "eu").ttl(Duration::from_secs(60));
/// ```
#[must_use = "a draft is sent by `.await`, or by handing it to an outbox or a database"]
#[derive(Debug)]
pub struct Draft<'a, M, Via = ()> {
    pub(crate) message: &'a M,
    /// Made when something is said: most messages have none, and a draft moves often on its way.
    pub(crate) options: Option<Box<Options>>,
    via: Via,
}

/// What a sender can say about one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) id: Option<MessageId>,
    pub(crate) headers: Headers,
    pub(crate) key: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) due: Option<Due>,
    pub(crate) priority: Option<u8>,
    pub(crate) topic: Option<TopicName>,
    pub(crate) subject: Option<String>,
}

/// When a message is to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    After(Duration),
    At(Timestamp),
}

impl<'a, M: Message> Draft<'a, M> {
    /// `message` without options.
    pub fn of(message: &'a M) -> Self {
        Self { message, options: None, via: () }
    }
}

impl<'a, M, Via> Draft<'a, M, Via> {
    /// Sets a header. Names that begin with `tramline_` are refused when the message is sent.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<HeaderValue>) -> Self {
        self.options().headers.insert(name, value);
        self
    }

    /// Keeps this message in order with others of the same key.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.options().key = Some(key.into());
        self
    }

    /// Makes consumers with an inbox handle this once, however often it is sent under this key.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.options().idempotency_key = Some(key.into());
        self
    }

    /// Names the business operation; what handlers send on carries it too.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.options().correlation_id = Some(id.into());
        self
    }

    /// Where an answer goes.
    pub fn reply_to(mut self, address: impl Into<String>) -> Self {
        self.options().reply_to = Some(address.into());
        self
    }

    /// The message loses its meaning this long after it is due.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options().ttl = Some(ttl);
        self
    }

    /// The message arrives after a delay. Needs the capability `delay`.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options().due = Some(Due::After(delay));
        self
    }

    /// The message arrives at a moment. Needs the capability `delay`. A moment that is more than a minute in the
    /// past is refused when the message is sent; by less, clocks may differ, and it arrives at once.
    pub fn at(mut self, due: Timestamp) -> Self {
        self.options().due = Some(Due::At(due));
        self
    }

    /// Larger is sooner, where the queue has priorities.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options().priority = Some(priority);
        self
    }

    /// Publishes to another topic than the message's own.
    pub fn topic(mut self, topic: TopicName) -> Self {
        self.options().topic = Some(topic);
        self
    }

    /// Publishes under another subject than the message's name.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.options().subject = Some(subject.into());
        self
    }

    /// Uses this id instead of a new one: for a producer that keeps its own.
    pub fn id(mut self, id: MessageId) -> Self {
        self.options().id = Some(id);
        self
    }

    /// The same draft, to be sent by `via`.
    pub fn through<Other>(self, via: Other) -> Draft<'a, M, Other> {
        Draft { message: self.message, options: self.options, via }
    }

    fn options(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }

    /// The draft, and what it was to be sent by.
    pub fn into_parts(self) -> (Draft<'a, M>, Via) {
        (Draft { message: self.message, options: self.options, via: () }, self.via)
    }
}

/// What sends a draft when it is awaited.
pub trait Dispatch: Sized + Send {
    /// The answer.
    type Output;

    /// Sends `draft`.
    fn dispatch<'a, M: Message>(self, draft: Draft<'a, M>) -> BoxFuture<'a, Self::Output>
    where
        Self: 'a;
}

impl<'a, M: Message, Via: Dispatch + 'a> IntoFuture for Draft<'a, M, Via> {
    type Output = Via::Output;
    type IntoFuture = BoxFuture<'a, Via::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (draft, via) = self.into_parts();
        via.dispatch(draft)
    }
}

/// `&message`, or a [`Draft`] with options.
pub trait IntoDraft<'a> {
    /// The message's type.
    type Message: Message;

    /// The draft.
    fn into_draft(self) -> Draft<'a, Self::Message>;
}

impl<'a, M: Message> IntoDraft<'a> for &'a M {
    type Message = M;

    fn into_draft(self) -> Draft<'a, M> {
        Draft::of(self)
    }
}

impl<'a, M: Message> IntoDraft<'a> for Draft<'a, M> {
    type Message = M;

    fn into_draft(self) -> Self {
        self
    }
}
