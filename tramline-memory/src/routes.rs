//! What is declared: queues, and who subscribed to what. Pure look-ups, no messages.

use crate::memory::Handle;
use crate::state::State;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Facts;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::topology::{CompiledRules, QueueSpec, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

/// A queue's place in the state. Dead letters stand right behind their queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueNumber(pub(crate) usize);

impl QueueNumber {
    /// Where dead letters of this queue go; those of a dead-letter queue go to itself.
    pub(crate) fn dead(self) -> Self {
        Self(self.0 | 1)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    queues: BTreeMap<QueueName, (QueueSpec, QueueNumber)>,
    /// Whose the temporary ones are.
    owners: BTreeMap<QueueName, Handle>,
    topics: BTreeMap<TopicName, Vec<Subscriber>>,
}

#[derive(Clone, Debug)]
struct Subscriber {
    subscription: Subscription,
    rules: CompiledRules,
    queue: QueueNumber,
    /// Who declared its queue last did not ask for it.
    is_orphaned: bool,
}

impl Routes {
    /// Adds what is missing and replaces the rules of subscriptions; all of `topology` or nothing.
    /// Temporary queues are `handle`'s.
    pub(crate) fn declare(
        &mut self,
        topology: &Topology,
        state: &mut State,
        handle: Handle,
    ) -> Result<()> {
        for spec in &topology.queues {
            self.check(spec, handle)?;
        }
        let asked = |name: &QueueName| topology.queues.iter().any(|spec| spec.name == *name);
        let mut compiled = Vec::with_capacity(topology.subscriptions.len());
        for subscription in &topology.subscriptions {
            if !asked(&subscription.queue) && !self.queues.contains_key(&subscription.queue) {
                return Err(not_declared(&QueueRef::Main(subscription.queue.clone())));
            }
            compiled.push((subscription, compile(subscription)?));
        }
        for spec in &topology.queues {
            if let Entry::Vacant(entry) = self.queues.entry(spec.name.clone()) {
                let number = state.add(spec);
                if spec.temporary {
                    self.owners.insert(spec.name.clone(), handle);
                }
                entry.insert((spec.clone(), number));
            }
        }
        for subscriber in self.topics.values_mut().flatten() {
            subscriber.is_orphaned |= asked(&subscriber.subscription.queue);
        }
        for (subscription, rules) in compiled {
            self.subscribe(subscription.clone(), rules);
        }
        Ok(())
    }

    /// Removes the temporary queues of a handle.
    pub(crate) fn leave(&mut self, handle: Handle, state: &mut State) {
        let theirs = self.owners.iter().filter(|(_, owner)| **owner == handle);
        let theirs: Vec<QueueName> = theirs.map(|(name, _)| name.clone()).collect();
        for name in theirs {
            self.owners.remove(&name);
            if let Some((spec, number)) = self.queues.remove(&name) {
                state.empty(&spec, number);
            }
            for subscribers in self.topics.values_mut() {
                subscribers.retain(|subscriber| subscriber.subscription.queue != name);
            }
        }
    }

    /// The temporary queue of this name.
    pub(crate) fn temporary(&self, queue: &QueueName) -> Option<QueueNumber> {
        self.owners.get(queue)?;
        self.queues.get(queue).map(|(_, number)| *number)
    }

    /// Ends a subscription. Answers whether there was one.
    pub(crate) fn unsubscribe(&mut self, queue: &QueueName, topic: &TopicName) -> bool {
        let Some(subscribers) = self.topics.get_mut(topic) else { return false };
        let before = subscribers.len();
        subscribers.retain(|subscriber| subscriber.subscription.queue != *queue);
        subscribers.len() < before
    }

    pub(crate) fn number(&self, queue: &QueueRef) -> Option<QueueNumber> {
        let (_, number) = self.queues.get(queue.name())?;
        Some(match queue {
            QueueRef::Main(_) => *number,
            QueueRef::Dead(_) => number.dead(),
        })
    }

    /// The same, for callers to whom a queue that is not declared is an error.
    pub(crate) fn declared(&self, queue: &QueueRef) -> Result<QueueNumber> {
        self.number(queue).ok_or_else(|| not_declared(queue))
    }

    /// The queues that get a copy of what is published to `topic`.
    pub(crate) fn subscribers<'a>(
        &'a self,
        topic: &TopicName,
        subject: &'a str,
        envelope: &'a Envelope,
    ) -> impl Iterator<Item = QueueNumber> + 'a {
        let facts = Facts::new(subject, &envelope.headers, &envelope.body);
        let subscribers = self.topics.get(topic).into_iter().flatten();
        let matching = subscribers.filter(move |one| one.rules.matches(subject, &facts));
        matching.map(|subscriber| subscriber.queue)
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = &QueueName> {
        self.queues.keys()
    }

    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.topics.values().flatten().map(|subscriber| &subscriber.subscription)
    }

    /// The subscriptions that nobody asks for any more.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = &Subscription> {
        let orphans = self.topics.values().flatten().filter(|subscriber| subscriber.is_orphaned);
        orphans.map(|subscriber| &subscriber.subscription)
    }

    fn check(&self, spec: &QueueSpec, handle: Handle) -> Result<()> {
        let wishes = unsupported(spec);
        if !wishes.is_empty() {
            let doing = format!("declare queue {}: {}", spec.name, wishes.join(", "));
            return Err(Error::new(ErrorKind::Unsupported, doing).because("memory has none"));
        }
        let Some((existing, _)) = self.queues.get(&spec.name) else { return Ok(()) };
        if self.owners.get(&spec.name).is_some_and(|owner| *owner != handle) {
            let error = Error::new(ErrorKind::Conflict, format!("declare queue {}", spec.name));
            return Err(error.because("it is the temporary queue of another handle"));
        }
        let differences = existing.differences(spec);
        if differences.is_empty() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Conflict, format!("declare queue {}", spec.name));
        Err(error.because(differences.join("; ")))
    }

    fn subscribe(&mut self, subscription: Subscription, rules: CompiledRules) {
        let Some(&(_, queue)) = self.queues.get(&subscription.queue) else { return };
        let subscribers = self.topics.entry(subscription.topic.clone()).or_default();
        let subscriber = Subscriber { subscription, rules, queue, is_orphaned: false };
        match subscribers.iter_mut().find(|other| other.queue == queue) {
            Some(existing) => *existing = subscriber,
            None => subscribers.push(subscriber),
        }
    }
}

/// The names of the arguments that a queue asks for and memory does not have.
fn unsupported(spec: &QueueSpec) -> Vec<String> {
    spec.arguments.keys().map(|name| format!("argument `{name}`")).collect()
}

fn compile(subscription: &Subscription) -> Result<CompiledRules> {
    CompiledRules::compile(&subscription.rules).map_err(|faults| {
        let Subscription { queue, topic, .. } = subscription;
        let doing = format!("subscribe queue {queue} to topic {topic}");
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Error::new(ErrorKind::Misconfigured, doing).because(faults.join("; "))
    })
}

fn not_declared(queue: &QueueRef) -> Error {
    Error::new(ErrorKind::NotFound, format!("find queue {queue}: it is not declared"))
}
