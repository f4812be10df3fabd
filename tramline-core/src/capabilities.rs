//! What a transport can do: one record of effective facts, compared with what an endpoint needs.

use crate::filter::{Filter, HeadersFilter};
use crate::headers::HeaderValue;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// Who does a thing. Drivers declare `Native` or `No`; the engine raises `No` to `ByBus` where it
/// can do the thing itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The broker.
    Native,
    /// The engine, with what the broker has.
    ByBus,
    /// Nobody: asking for it is refused.
    No,
}

impl Support {
    /// Whether the engine may ask the driver for it.
    pub fn is_native(self) -> bool {
        self == Self::Native
    }
}

/// Which order a queue keeps. Each kind includes those before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// First in, first out as far as competing consumers and retries allow.
    #[default]
    None,
    /// Messages of one key are handled one after the other.
    PerKey,
    /// All messages are handled one after the other.
    PerQueue,
}

/// How a transport delays messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How exactly a due time is met.
    pub resolution: Duration,
    /// The longest delay; `None`: no bound.
    pub max: Option<Duration>,
}

/// Which filters a transport applies by itself; the engine applies the others at the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterSupport {
    /// [`Filter::Subject`], and the subjects of rules.
    pub subject: Support,
    /// [`Filter::Headers`].
    pub headers: Support,
    /// Of which the transport compares these. [`of`](Self::of) heeds it.
    pub header_values: HeaderValues,
    /// [`Filter::Sql`].
    pub sql: Support,
}

/// Which headers a transport compares with the meaning that [`HeadersFilter`] gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValues {
    /// All of them.
    Any,
    /// Text and booleans, under names that do not begin with `x-`. The headers exchange of AMQP
    /// tells the integer 1 from the number 1.0, and ignores those names.
    TextAndBool,
}

impl HeaderValues {
    fn include(self, filter: &HeadersFilter) -> bool {
        let is_included = |(name, value): &(String, HeaderValue)| match self {
            Self::Any => true,
            Self::TextAndBool => {
                matches!(value, HeaderValue::Text(_) | HeaderValue::Bool(_))
                    && !name.starts_with("x-")
            }
        };
        filter.pairs.iter().all(is_included)
    }
}

impl FilterSupport {
    /// Everything natively.
    pub const NATIVE: Self = Self {
        subject: Support::Native,
        headers: Support::Native,
        header_values: HeaderValues::Any,
        sql: Support::Native,
    };

    /// Who applies `filter`. What a transport cannot compare in headers, the engine does.
    pub fn of(&self, filter: &Filter) -> Support {
        match filter {
            Filter::All => Support::Native,
            Filter::Subject(_) => self.subject,
            Filter::Headers(headers) if self.headers.is_native() => {
                if self.header_values.include(headers) { Support::Native } else { Support::ByBus }
            }
            Filter::Headers(_) => self.headers,
            Filter::Sql(_) => self.sql,
        }
    }
}

/// How a broker counts deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryCount {
    /// Not at all.
    No,
    /// All deliveries since the message was put into its queue, whatever became of them: also those
    /// that were returned, by a drain or because their handler waited in vain for another.
    ///
    /// It is enough to find messages that kill processes. It suspects one that is merely returned
    /// often; that is handled alone then, and goes on if it ends.
    Raw,
    /// Those in a row of which nobody has heard how they ended.
    Unheard,
}

impl DeliveryCount {
    /// Whether the broker counts.
    pub fn is_kept(self) -> bool {
        self != Self::No
    }
}

/// How queues with a maximum length refuse what is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthLimit {
    /// There are no such queues.
    No,
    /// Each queue by itself. What counts is what is ready; what is at work, or waits elsewhere for
    /// its time, does not. Other queues of a topic may have got a message that one of them refused,
    /// so sending it again may duplicate it there. Copies (retries, redrives) can be refused too.
    EachQueue,
    /// Everything in a queue counts but dead letters, a message that one queue has no room for
    /// reaches none, and copies are never refused.
    Whole,
}

impl LengthLimit {
    /// Whether there are queues with a maximum length.
    pub fn is_offered(self) -> bool {
        self != Self::No
    }
}

/// What temporary queues are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemporaryQueues {
    /// There are no such queues.
    No,
    /// As the broker likes: under one name, each process has a queue of its own.
    ByBroker,
    /// By the name that they are declared under, which must be unlike all others'. The engine makes it so.
    ByName,
}

impl TemporaryQueues {
    /// Whether there are temporary queues.
    pub fn is_offered(self) -> bool {
        self != Self::No
    }
}

/// What a transport can do for one queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capabilities {
    /// The strictest order it can keep.
    pub ordering: Ordering,
    /// At most one message of a key is out at a time, in all processes, and a retry keeps its key
    /// locked, across crashes too: what is behind it waits. Without it the engine keeps the order.
    pub key_lock: Support,
    /// Messages that arrive later; `None`: refused.
    pub delay: Option<Delay>,
    /// A failed message comes back after a pause without a copy.
    pub delayed_retry: Support,
    /// A delayed message can be taken back.
    pub cancel_scheduled: Support,
    /// Dead letters are kept without a copy.
    pub dead_letter: Support,
    /// How the broker counts deliveries.
    pub deliveries: DeliveryCount,
    /// The broker drops or dead-letters what has expired.
    pub expiry: Support,
    /// Filters that the broker applies.
    pub filters: FilterSupport,
    /// Queues that hand out more important messages first.
    pub priority: Support,
    /// Queues that refuse messages when full.
    pub length_max: LengthLimit,
    /// Queues that drop messages with a key seen before.
    pub dedup: Support,
    /// Queues that have one message of a key at a time, and drop what comes meanwhile.
    pub unique: Support,
    /// Queues that keep handled messages for a while.
    pub keep_completed: Support,
    /// Queues that forget dead letters after a while.
    pub keep_dead: Support,
    /// Acks and publishing can join a transaction of a store on the same database.
    pub shared_transaction: Support,
    /// Messages can be found and taken out by id.
    pub random_access: Support,
    /// Messages can be looked at without taking them.
    pub peek: Support,
    /// Queues that are gone with whoever declared them.
    pub temporary_queues: TemporaryQueues,
    /// The largest body; `None`: no bound.
    pub body_bytes_max: Option<u64>,
    /// The most bytes of headers; `None`: no bound.
    pub header_bytes_max: Option<u64>,
    /// How long a delivery may stay unsettled; `None`: no bound, leases are renewed.
    pub hold_max: Option<Duration>,
}

/// What one endpoint asks of its transport.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Needs {
    /// The order that it relies on.
    pub ordering: Ordering,
    /// Its retry policy has pauses that are not slept in place.
    pub delayed_retry: bool,
    /// Its queue has priorities.
    pub priority: bool,
    /// Its queue has a maximum length.
    pub length_max: bool,
    /// Its queue drops duplicates by key.
    pub dedup: bool,
    /// Its queue has one message of a key at a time.
    pub unique: bool,
    /// Its queue keeps handled messages.
    pub keep_completed: bool,
    /// Its queue forgets dead letters.
    pub keep_dead: bool,
    /// Its queue is gone with its last consumer.
    pub temporary_queue: bool,
}

/// A need that a transport does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The capability's name.
    pub capability: &'static str,
    /// What was asked for.
    pub asked: &'static str,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (capability `{}`)", self.asked, self.capability)
    }
}

impl Capabilities {
    /// Every need that is not met, so that start-up reports all of them at once.
    pub fn unmet(&self, needs: &Needs) -> Vec<Unmet> {
        let offered = |support: Support| support != Support::No;
        let checks = [
            (self.ordering >= needs.ordering, "ordering", "order by key or queue"),
            (!needs.delayed_retry || offered(self.delayed_retry), "delayed_retry", "delayed retry"),
            (!needs.priority || offered(self.priority), "priority", "priorities"),
            (!needs.length_max || self.length_max.is_offered(), "length_max", "a maximum length"),
            (!needs.dedup || offered(self.dedup), "dedup", "deduplication"),
            (!needs.unique || offered(self.unique), "unique", "unique messages"),
            (
                !needs.keep_completed || offered(self.keep_completed),
                "keep_completed",
                "to keep handled messages",
            ),
            (
                !needs.keep_dead || offered(self.keep_dead),
                "keep_dead",
                "to forget dead letters after a while",
            ),
            (
                !needs.temporary_queue || self.temporary_queues.is_offered(),
                "temporary_queues",
                "a temporary queue",
            ),
        ];
        let unmet = checks.into_iter().filter(|(met, ..)| !met);
        unmet.map(|(_, capability, asked)| Unmet { capability, asked }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_a_transport_does_not_compare_are_left_to_the_engine() {
        let amqp = FilterSupport {
            header_values: HeaderValues::TextAndBool,
            sql: Support::No,
            ..FilterSupport::NATIVE
        };
        let without = FilterSupport { headers: Support::No, ..amqp };
        let text = || ("region".to_owned(), HeaderValue::from("eu"));
        let flag = || ("express".to_owned(), HeaderValue::Bool(true));
        let number = || ("level".to_owned(), HeaderValue::Int(7));
        let ignored = || ("x-region".to_owned(), HeaderValue::from("eu"));
        for (filter, by_amqp, otherwise) in [
            (Filter::All, Support::Native, Support::Native),
            (Filter::subject("orders.*"), Support::Native, Support::Native),
            (Filter::sql("total > 1000"), Support::No, Support::No),
            (Filter::headers_all([text(), flag()]), Support::Native, Support::No),
            (Filter::headers_any([text(), number()]), Support::ByBus, Support::No),
            (Filter::headers_all([text(), ignored()]), Support::ByBus, Support::No),
        ] {
            assert_eq!(amqp.of(&filter), by_amqp, "{filter}");
            assert_eq!(without.of(&filter), otherwise, "{filter}, without headers");
        }
        let pairs = Filter::headers_all([number(), ignored()]);
        assert_eq!(FilterSupport::NATIVE.of(&pairs), Support::Native);
    }
}
