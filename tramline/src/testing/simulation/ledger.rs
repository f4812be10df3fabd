//! What was accepted and what became of it: nothing may be lost, and nothing settled twice.

use super::found::Violation;
use crate::testing::faults::LifeId;
use crate::testing::trace::{Trace, What};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Facts;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::Peeked;
use tramline_core::store::Condition;
use tramline_core::topology::{CompiledRules, Topology};
use tramline_core::transport::{Delivery, Destination, Outgoing, Ticket};

/// The books of one run. Clones are the same books.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    subscriptions: BTreeMap<(TopicName, QueueName), CompiledRules>,
    /// What each queue must have got.
    owed: BTreeMap<(QueueName, MessageId), Arc<Envelope>>,
    handled: BTreeSet<(QueueName, MessageId)>,
    handled_keys: BTreeSet<(QueueName, String)>,
    /// Queues that drop what their senders' keys say was there before, whatever became of that.
    deduplicating: BTreeSet<QueueName>,
    /// Queues that have one message of a key at a time, and drop what comes meanwhile.
    unique: BTreeSet<QueueName>,
    /// The keys of what was handled or is dead in those.
    stood_for: BTreeSet<(QueueName, String)>,
    /// Queues whose dead letters go after a while.
    forgetting: BTreeSet<QueueName>,
    /// The dead letters of those, for as long as the run.
    were_dead: BTreeSet<(QueueName, MessageId)>,
    /// What is out, by its place in the database.
    delivered: BTreeMap<Place, (QueueName, Arc<Envelope>)>,
    settled: BTreeSet<Place>,
    settled_twice: Option<String>,
}

/// Queue, row and lease.
type Place = (i64, i64, i64);

fn place(ticket: &Ticket) -> Place {
    (ticket.queue, ticket.row, ticket.token)
}

impl Ledger {
    pub(crate) fn declared(&self, topology: &Topology) {
        let mut books = self.0.lock();
        for spec in &topology.queues {
            if spec.dedup_window.is_some() {
                books.deduplicating.insert(spec.name.clone());
            }
            if spec.unique {
                books.unique.insert(spec.name.clone());
            }
            if spec.keep_dead.is_some() {
                books.forgetting.insert(spec.name.clone());
            }
        }
        for subscription in &topology.subscriptions {
            let (topic, queue) = (subscription.topic.clone(), subscription.queue.clone());
            if let Ok(rules) = CompiledRules::compile(&subscription.rules) {
                books.subscriptions.insert((topic, queue), rules);
            }
        }
    }

    /// A message is in: whoever gets it must not lose it. A copy is the message that it stands for.
    pub(crate) fn accepted(&self, outgoing: &Outgoing) {
        let (envelope, mut books) = (&outgoing.envelope, self.0.lock());
        let Some(id) = envelope.id.clone().filter(|_| outgoing.copy.is_none()) else { return };
        let queues: Vec<QueueName> = match &outgoing.to {
            Destination::Queue(QueueRef::Main(queue)) => vec![queue.clone()],
            Destination::Topic { name, subject } => {
                let facts = Facts::new(subject, &envelope.headers, &envelope.body);
                let here = books.subscriptions.iter().filter(|((topic, _), _)| topic == name);
                let wanted = here.filter(|(_, rules)| rules.matches(subject, &facts));
                wanted.map(|((_, queue), _)| queue.clone()).collect()
            }
            _ => Vec::new(),
        };
        for queue in queues {
            books.owed.insert((queue, id.clone()), envelope.clone());
        }
    }

    pub(crate) fn delivered<D: Delivery>(&self, queue: &QueueName, delivery: &D) {
        if let Some(ticket) = delivery.ticket() {
            let message = (queue.clone(), delivery.envelope().clone());
            self.0.lock().delivered.insert(place(&ticket), message);
        }
    }

    /// A settlement was carried out.
    pub(crate) fn settled(&self, ticket: Option<&Ticket>) {
        if let Some(ticket) = ticket {
            self.0.lock().settle(ticket);
        }
    }

    /// A transaction was committed under these conditions.
    pub(crate) fn committed(&self, conditions: &[Condition]) {
        let mut books = self.0.lock();
        for condition in conditions {
            match condition {
                Condition::Ack(ticket) => {
                    books.settle(ticket);
                    if let Some((queue, envelope)) = books.delivered.get(&place(ticket)).cloned() {
                        books.handle(&queue, &envelope);
                    }
                }
                Condition::Admit(sighting) => {
                    // An endpoint on a queue of another name is known as `name@queue`.
                    let endpoint = &*sighting.key.endpoint;
                    let queue = endpoint.split_once('@').map_or(endpoint, |(_, queue)| queue);
                    if let Ok(queue) = QueueName::new(queue) {
                        books.handled.insert((queue, sighting.id.clone()));
                    }
                }
                Condition::Due { .. } | Condition::Tick { .. } | Condition::Plan(_) => {}
            }
        }
    }

    /// A handler has succeeded, and so has its transaction.
    pub(crate) fn handled(
        &self,
        life: LifeId,
        trace: &Trace,
        queue: &QueueName,
        envelope: &Arc<Envelope>,
    ) {
        trace.add(life, What::Handled(described(queue, envelope)));
        self.0.lock().handle(queue, envelope);
    }

    /// How much was accepted, and how much of that handled: moves when anything does.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let books = self.0.lock();
        (books.owed.len(), books.handled.len())
    }

    /// # Errors
    /// A message was settled twice.
    pub(crate) fn check_settlements(&self) -> Result<(), Violation> {
        let twice = self.0.lock().settled_twice.clone();
        twice.map_or(Ok(()), |what| Err(Violation::new("nothing is settled twice", what)))
    }

    /// Whether dead letters go with time: they are to be shown before it passes.
    pub(crate) fn forgets_the_dead(&self) -> bool {
        !self.0.lock().forgetting.is_empty()
    }

    /// These are dead letters at this moment.
    pub(crate) fn saw_dead(&self, dead: &[(QueueName, Peeked)]) {
        let mut books = self.0.lock();
        for (queue, peeked) in dead {
            if books.forgetting.contains(queue)
                && let Some(id) = peeked.envelope.id.clone()
            {
                books.were_dead.insert((queue.clone(), id));
                books.drop_behind(queue, &peeked.envelope);
            }
        }
    }

    /// # Errors
    /// Something was neither handled nor is among the `dead`, when nothing is left to do.
    pub(crate) fn check_nothing_is_lost(
        &self,
        dead: &[(QueueName, Peeked)],
    ) -> Result<(), Violation> {
        let mut books = self.0.lock();
        dead.iter().for_each(|(queue, peeked)| books.drop_behind(queue, &peeked.envelope));
        let dead: BTreeSet<_> = dead
            .iter()
            .filter_map(|(queue, peeked)| Some((queue.clone(), peeked.envelope.id.clone()?)))
            .collect();
        for (place, envelope) in &books.owed {
            let key = envelope.idempotency_key.clone();
            let known = key.is_some_and(|key| books.handled_keys.contains(&(place.0.clone(), key)));
            let is_dead = dead.contains(place) || books.were_dead.contains(place);
            let known = known || books.is_stood_for(&place.0, envelope);
            if !known && !books.handled.contains(place) && !is_dead {
                let message = described(&place.0, envelope);
                let what = format!("{message} was accepted, and is neither handled nor dead");
                return Err(Violation::new("nothing is lost", what));
            }
        }
        Ok(())
    }
}

impl Books {
    fn handle(&mut self, queue: &QueueName, envelope: &Envelope) {
        if let Some(id) = &envelope.id {
            self.handled.insert((queue.clone(), id.clone()));
        }
        if let Some(key) = &envelope.idempotency_key {
            self.handled_keys.insert((queue.clone(), key.clone()));
        }
        self.stand_for_the_like(queue, envelope);
    }

    /// A message of a queue that has one of its key at a time stands for those that were dropped meanwhile.
    fn stand_for_the_like(&mut self, queue: &QueueName, envelope: &Envelope) {
        if let Some(key) = envelope.key.clone().filter(|_| self.unique.contains(queue)) {
            self.stood_for.insert((queue.clone(), key));
        }
    }

    fn is_stood_for(&self, queue: &QueueName, envelope: &Envelope) -> bool {
        let key = envelope.key.clone();
        key.is_some_and(|key| self.stood_for.contains(&(queue.clone(), key)))
    }

    /// `dead` stands for what came under its key, where that was dropped.
    fn drop_behind(&mut self, queue: &QueueName, dead: &Envelope) {
        self.stand_for_the_like(queue, dead);
        if let Some(key) =
            dead.idempotency_key.clone().filter(|_| self.deduplicating.contains(queue))
        {
            self.handled_keys.insert((queue.clone(), key));
        }
    }

    fn settle(&mut self, ticket: &Ticket) {
        let place = place(ticket);
        if !self.settled.insert(place) && self.settled_twice.is_none() {
            let message = self.delivered.get(&place);
            let message = message.map(|(queue, envelope)| described(queue, envelope));
            let message = message.unwrap_or_else(|| "a message".to_owned());
            self.settled_twice = Some(format!("{message} was settled twice under one lease"));
        }
    }
}

/// A message in a queue, for people.
fn described(queue: &QueueName, envelope: &Envelope) -> String {
    let name = envelope.name.as_deref().unwrap_or("a message");
    match &envelope.id {
        Some(id) => format!("{name} {id} in queue {queue}"),
        None => format!("{name} in queue {queue}"),
    }
}
