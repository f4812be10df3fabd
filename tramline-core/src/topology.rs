//! Queues, topics and subscriptions: what must be there before work is accepted.

use crate::capabilities::Ordering;
use crate::filter::{Facts, Filter, FilterError, Matcher, SubjectPattern};
use crate::name::{QueueName, TopicName};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Everything that one bus reads from and publishes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// Queues, each with its dead-letter queue.
    pub queues: Vec<QueueSpec>,
    /// Topics that are published to or subscribed to.
    pub topics: Vec<TopicName>,
    /// Which queue gets copies of what. One entry for each pair of queue and topic.
    pub subscriptions: Vec<Subscription>,
}

/// One queue and what is asked of it. What a transport cannot do is refused at `declare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
// What a newer program has asked of a queue must not be lost on the way to an older one.
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// The name.
    pub name: QueueName,
    /// Which order it keeps.
    #[serde(default)]
    pub ordering: Ordering,
    /// Gone when whoever declared it is, by closing its handle or by dying: for subscribers that only want
    /// events while they live, and for answers. Its name is to be unlike all others.
    #[serde(default)]
    pub temporary: bool,
    /// The highest priority that it tells apart; `None`: first in, first out.
    #[serde(default)]
    pub priority_max: Option<u8>,
    /// How many messages it may hold before sends are refused. What counts, and whether a refused
    /// message has reached other queues of its topic, says the capability `length_max`
    /// ([`crate::capabilities::LengthLimit`]).
    #[serde(default)]
    pub length_max: Option<u64>,
    /// For how long a message that was sent before is dropped. What it is known by is the sender's
    /// idempotency key, else its id. Copies (retries, redrives) are never dropped.
    #[serde(default)]
    pub dedup_window: Option<Duration>,
    /// Whether a message is dropped while another one of its key ([`Envelope::key`](crate::envelope::Envelope::key))
    /// waits here or is at work; dead letters do not count. What has no key is never dropped, and neither are
    /// copies (retries, redrives).
    #[serde(default)]
    pub unique: bool,
    /// After how many deliveries the broker itself gives up on a message.
    #[serde(default)]
    pub delivery_limit: Option<u32>,
    /// For how long handled messages stay to be looked at, by
    /// [`crate::operate::Operate::completed`]; `None`: not at all.
    #[serde(default)]
    pub keep_completed: Option<Duration>,
    /// For how long dead letters stay; `None`: until somebody redrives or purges them.
    #[serde(default)]
    pub keep_dead: Option<Duration>,
    /// Further arguments that only one kind of broker understands.
    #[serde(default)]
    pub arguments: BTreeMap<String, String>,
}

impl QueueSpec {
    /// A durable queue with no further wishes.
    pub fn new(name: QueueName) -> Self {
        Self {
            name,
            ordering: Ordering::None,
            temporary: false,
            priority_max: None,
            length_max: None,
            dedup_window: None,
            unique: false,
            delivery_limit: None,
            keep_completed: None,
            keep_dead: None,
            arguments: BTreeMap::new(),
        }
    }

    /// The arguments in which `asked` differs from this existing queue, in words; empty if none.
    pub fn differences(&self, asked: &Self) -> Vec<String> {
        fn note(found: &mut Vec<String>, what: &str, is: &dyn fmt::Debug, asked: &dyn fmt::Debug) {
            let (is, asked) = (format!("{is:?}"), format!("{asked:?}"));
            if is != asked {
                found.push(format!("{what} is {is}, asked for {asked}"));
            }
        }
        let mut found = Vec::new();
        note(&mut found, "ordering", &self.ordering, &asked.ordering);
        note(&mut found, "temporary", &self.temporary, &asked.temporary);
        note(&mut found, "priority_max", &self.priority_max, &asked.priority_max);
        note(&mut found, "length_max", &self.length_max, &asked.length_max);
        note(&mut found, "dedup_window", &self.dedup_window, &asked.dedup_window);
        note(&mut found, "unique", &self.unique, &asked.unique);
        note(&mut found, "delivery_limit", &self.delivery_limit, &asked.delivery_limit);
        note(&mut found, "keep_completed", &self.keep_completed, &asked.keep_completed);
        note(&mut found, "keep_dead", &self.keep_dead, &asked.keep_dead);
        note(&mut found, "arguments", &self.arguments, &asked.arguments);
        found
    }
}

/// A queue gets one copy of every message on a topic that at least one of the rules lets through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// The queue.
    pub queue: QueueName,
    /// The topic.
    pub topic: TopicName,
    /// Any of these.
    pub rules: Vec<Rule>,
}

/// Both the subject and the filter must match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// A subject pattern: `orders.placed`, `orders.*`, `#`.
    pub subject: String,
    /// What else is asked.
    pub filter: Filter,
}

impl Rule {
    /// Everything under `subject`.
    pub fn subject(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), filter: Filter::All }
    }
}

/// The rules of a subscription, checked and ready to match.
#[derive(Clone, Debug)]
pub struct CompiledRules(Vec<(SubjectPattern, Matcher)>);

impl CompiledRules {
    /// Checks every rule.
    ///
    /// # Errors
    /// Every faulty rule with the position of its fault, not the first one only.
    pub fn compile(rules: &[Rule]) -> Result<Self, Vec<FilterError>> {
        let mut compiled = Vec::with_capacity(rules.len());
        let mut faults = Vec::new();
        for rule in rules {
            match (SubjectPattern::parse(&rule.subject), rule.filter.compile()) {
                (Ok(subject), Ok(filter)) => compiled.push((subject, filter)),
                (subject, filter) => {
                    faults.extend(subject.err());
                    faults.extend(filter.err());
                }
            }
        }
        if faults.is_empty() { Ok(Self(compiled)) } else { Err(faults) }
    }

    /// Whether any rule lets the message through.
    pub fn matches(&self, subject: &str, facts: &Facts<'_>) -> bool {
        self.0.iter().any(|(pattern, filter)| pattern.matches(subject) && filter.matches(facts))
    }
}
