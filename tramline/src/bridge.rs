//! From one bus to another: messages go on as they are.

use crate::bus::Bus;
use crate::pipeline::{Context, Disposition, Outcome, Step};
use crate::{Failure, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::envelope::{Envelope, Text, Via};
use tramline_core::name::{BadName, QueueName, QueueRef, TopicName};
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{Error, ErrorKind};

/// Where an endpoint forwards its messages to, on another bus ([`Endpoint::bridge`](crate::Endpoint::bridge)).
///
/// What goes on is the message as it came, whatever its type, and nobody reads its body: with its id, name and version,
/// headers, keys, priority, the time at which it expires, correlation, causes and trace context. It is acked when the
/// other bus has confirmed it. If the process dies in between it is forwarded again, under the same id, so that whoever
/// has an inbox there handles it once. A message without an id has another one each time.
///
/// Another bus that is away, full or closed charges no message: these come back after a second, for as long as it
/// takes; a [circuit breaker](crate::Endpoint::circuit_breaker) counts them as failures. What it refuses for another
/// reason is retried as the endpoint's policy says. A message that asks for a reply is a dead letter, as its address
/// means nothing there; its requester is told that it failed. So is one that has crossed 16 bridges, counted in its
/// header `tramline_bridges`: some of them lead to each other.
///
/// Both buses are in one process, so stop this side first. The endpoint keeps its order, retries, filters and limits.
///
/// ```
/// # #[cfg(feature = "memory")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tramline::{Bridge, Bus, Endpoint, Filter};
///
/// let far = Bus::connect("memory:").await?.start().await?;
/// let orders = Endpoint::new("to-far")
///     .subscribe_to("orders", "#", Filter::All)
///     .bridge(Bridge::to_topic(&far, "orders"));
/// let near = Bus::connect("memory:").await?.endpoint(orders).start().await?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[must_use = "a bridge is given to an endpoint by `.bridge(…)`"]
pub struct Bridge {
    far: Bus,
    to: Result<To, BadName>,
    drops_reply_to: bool,
}

#[derive(Clone, Debug)]
enum To {
    Queue(QueueName),
    Topic(TopicName),
}

/// How many bridges a message may cross.
const BRIDGES_MAX: i64 = 16;
/// The header in which they are counted.
const BRIDGES: &str = "tramline_bridges";

impl Bridge {
    /// To exactly one queue of `far`, which must exist.
    pub fn to_queue(far: &Bus, queue: &str) -> Self {
        Self::to(far, QueueName::new(queue).map(To::Queue))
    }

    /// To everybody who has subscribed to `topic` on `far`, which may be nobody: as with all that is published, the
    /// message is acked here then, and counted there as unrouted. It goes under the subject that the message came
    /// under, else under its name. Where this side retries by copies (capability `delayed_retry`), a retried message
    /// goes by its name.
    pub fn to_topic(far: &Bus, topic: &str) -> Self {
        Self::to(far, TopicName::new(topic).map(To::Topic))
    }

    fn to(far: &Bus, to: Result<To, BadName>) -> Self {
        Self { far: far.clone(), to, drops_reply_to: false }
    }

    /// Messages go on without the address to which they want replies, so that those which have one cross as well.
    /// For senders that set it and do not wait. Whoever does wait learns nothing before his time is over.
    pub fn drop_reply_to(self) -> Self {
        Self { drops_reply_to: true, ..self }
    }

    /// For how long one message may wait for the other bus.
    pub(crate) fn waits(&self) -> Duration {
        self.far.inner().send_limit
    }

    /// # Errors
    /// The name that it leads to is not allowed.
    pub(crate) fn forward(self) -> Result<Forward, BadName> {
        let Self { far, to, drops_reply_to } = self;
        Ok(Forward { far, to: to?, drops_reply_to })
    }
}

/// Sends each message on.
pub(crate) struct Forward {
    far: Bus,
    to: To,
    drops_reply_to: bool,
}

impl Step for Forward {
    async fn run(&self, cx: &mut Context) -> Outcome {
        let outgoing = self.onward(cx)?;
        // Dies the process behind this, the message is there and comes here again: it is sent under the same id.
        let Err(error) = self.far.send_outgoing(outgoing).await else { return Ok(()) };
        if !says_nothing_of_the_message(&error) {
            // As text: what is wrong there must not stop the bus here.
            return Err(Failure::retryable(error.to_string()));
        }
        tracing::warn!(endpoint = cx.endpoint(), %error, "the other bus takes nothing");
        cx.disposition = Disposition::Away;
        Ok(())
    }
}

impl Forward {
    /// # Errors
    /// It must not cross.
    fn onward(&self, cx: &Context) -> Result<Outgoing, Failure> {
        let came = cx.envelope();
        if came.reply_to.is_some() && !self.drops_reply_to {
            return Err(Failure::permanent(
                "failed to forward a request: nobody could reply to it; where none is waited for, say \
                 `.drop_reply_to()` of the bridge",
            ));
        }
        let crossed = match came.headers.get(BRIDGES) {
            Some(HeaderValue::Int(crossed)) => *crossed,
            Some(HeaderValue::Text(crossed)) => crossed.parse().unwrap_or(0),
            _ => 0,
        };
        if crossed >= BRIDGES_MAX {
            let text = format!("failed to forward: it has crossed {crossed} bridges");
            return Err(Failure::permanent(text));
        }
        let (to, via) = self.destination(came);
        let mut envelope = Envelope { via, ..(**came).clone() };
        if self.drops_reply_to {
            envelope.reply_to = None;
        }
        // What came by its subject alone is known by that: in a queue of the other side nobody sees it.
        let subject = came.via.as_ref().map(|via| via.subject.clone());
        envelope.name = envelope.name.or(subject);
        envelope.id.get_or_insert_with(|| cx.message_id().clone());
        envelope.headers.insert(BRIDGES, crossed + 1);
        Ok(Outgoing { to, envelope: Arc::new(envelope), due: None, copy: None })
    }

    fn destination(&self, came: &Envelope) -> (Destination, Option<Via>) {
        match &self.to {
            To::Queue(queue) => (Destination::Queue(QueueRef::Main(queue.clone())), None),
            To::Topic(topic) => {
                let by_name = || came.name.clone().unwrap_or(Text::Borrowed(""));
                let subject = came.via.as_ref().map_or_else(by_name, |via| via.subject.clone());
                let via = Via { topic: topic.clone(), subject: subject.clone() };
                (Destination::Topic { name: topic.clone(), subject }, Some(via))
            }
        }
    }
}

/// Whether the same message may be taken later as it is.
fn says_nothing_of_the_message(error: &Error) -> bool {
    let kind = error.kind();
    error.is_transient()
        || matches!(kind, ErrorKind::Full | ErrorKind::Closed | ErrorKind::Outdated)
}
