//! One declaration, from the first question to the last.
//!
//! # If the process dies here
//!
//! | between | and | there is | next time |
//! | --- | --- | --- | --- |
//! | exchanges and queues | the record | a queue that nobody remembers | it is declared again, and remembered |
//! | the record | the bindings | a record of bindings that are not there yet | they are made |
//! | new bindings | old ones gone | a queue that gets too much for a while | the record knows the old ones: they go |
//! | old ones gone | the last record | a record of bindings that are gone | they are unbound again, which is nothing |
//! | a record confirmed | the one before acked | two records | the later generation holds |
//! | bindings under an alarm | the record | bindings that nobody remembers | the endpoint filters |
//!
//! Nobody was told that the declaration was done, and the broker gives the record to the next.

use super::ask::{Refusal, all_granted, alone, at_once, in_order};
use super::differences::since_declared;
use super::foreign::Foreign;
use super::form::{Main, QueueForm, QueuePlan};
use super::record::{Change, Record, lasting};
use super::registry::{Held, Missed};
use super::step::{Binding, Step};
use super::topic_bindings::{Between, TopicBinding, topic_bindings};
use crate::delay::{bind_due, due_exchange, undeliverable};
use crate::link::{Brief, Session};
use crate::names::{Names, short};
use crate::options::RabbitMqOptions;
use futures_util::future::join;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use std::time::Duration;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::{QueueSpec, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

/// What is to be there, and on which connection it is asked for.
pub(super) struct Work<'a> {
    pub(super) options: &'a RabbitMqOptions,
    /// Everything but the record and what it holds goes through this one, which consumes: it must not
    /// publish, or a broker that is short of memory or disk hears no acks.
    pub(super) session: &'a Session,
    pub(super) names: &'a Names,
    pub(super) topology: &'a Topology,
    pub(super) plans: &'a [QueuePlan],
    pub(super) foreign: Foreign,
}

/// What became of the record.
pub(super) enum Recorded {
    Yes,
    /// The broker takes nothing, and tells this connection when it does again.
    NotYet(Brief),
}

impl Work<'_> {
    /// Declares everything. Who declares last says what a queue gets.
    ///
    /// While the broker takes nothing, it cannot be remembered. Then everything is there that is asked
    /// for, and what is not asked for any more stays until it is.
    pub(super) async fn declare(&self, turn_limit: Duration) -> Result<Recorded> {
        let taken = Held::take(self.options, turn_limit);
        let (held, refused) = join(taken, self.exchanges_and_queues()).await;
        let record = held.as_ref().ok().map(Held::record);
        let granted = refused.and_then(|refused| {
            all_granted(refused, |refusal| self.since_declared(record, refusal))
        });
        if let Err(error) = granted {
            if let Ok(held) = held {
                held.give_back().await;
            }
            return Err(error);
        }
        let changed = match held {
            Ok(held) => self.change(held).await,
            Err(missed) => Err(missed),
        };
        let recorded = match changed {
            Ok(()) => Recorded::Yes,
            Err(Missed::Failed(error)) => return Err(error),
            Err(Missed::Blocked(brief, error)) => {
                tracing::warn!(
                    %error,
                    "everything that was declared is there, but what is no longer asked for stays \
                     until the broker takes messages again"
                );
                all_granted(self.temporaries().await?, |_| None)?;
                all_granted(self.bind_for_now().await?, |_| None)?;
                Recorded::NotYet(brief)
            }
        };
        all_granted(self.bind_what_is_foreign().await?, |_| None)?;
        Ok(recorded)
    }

    async fn change(&self, mut held: Held) -> Result<(), Missed> {
        let changed = async {
            self.is_complete(held.record())?;
            all_granted(self.temporaries().await?, |_| None)?;
            let change = held.record().declare(self.topology);
            self.carry_out(&mut held, change).await
        };
        let done = changed.await;
        finish(held, done).await
    }

    /// Declares again what needs no record. What is refused is told, and does not keep the rest from
    /// being there.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) async fn restore(&self) -> Result<Vec<Refusal>> {
        let mut refusals = self.exchanges_and_queues().await?;
        refusals.extend(self.temporaries().await?);
        refusals.extend(self.bind_what_is_foreign().await?);
        Ok(refusals)
    }

    /// Remembers what is `unrecorded`, and binds again what was bound before, as whoever declared it
    /// last has asked.
    pub(super) async fn catch_up(
        &self,
        unrecorded: &Topology,
        turn_limit: Duration,
    ) -> Result<(), Missed> {
        let mut held = Held::take(self.options, turn_limit).await?;
        let caught_up = async {
            let change = held.record().declare(unrecorded);
            self.carry_out(&mut held, change).await?;
            let change = held.record().restore(self.topology);
            self.carry_out(&mut held, change).await
        };
        let done = caught_up.await;
        finish(held, done).await
    }

    /// Ends a subscription. Answers whether there was one.
    pub(super) async fn unsubscribe(
        &self,
        queue: &QueueName,
        topic: &TopicName,
        turn_limit: Duration,
    ) -> Result<bool> {
        let mut held = Held::take(self.options, turn_limit).await.map_err(Missed::into_error)?;
        let Some(change) = held.record().unsubscribe(queue, topic) else {
            held.release().await?;
            return Ok(false);
        };
        let done = self.carry_out(&mut held, change).await;
        finish(held, done).await.map_err(Missed::into_error)?;
        Ok(true)
    }

    /// Everything that needs no turn: exchanges and queues, which the broker compares by itself.
    async fn exchanges_and_queues(&self) -> Result<Vec<Refusal>> {
        let mut refusals = in_order(self.session, &self.exchanges()?).await?;
        refusals.extend(at_once(self.session, &self.queues()).await?);
        for plan in self.plans.iter().filter(|plan| plan.dead_is_chosen) {
            refusals.extend(self.chosen_dead(plan).await?);
        }
        for plan in self.plans {
            self.names.choose_dead(&plan.spec.name, plan.dead.name.clone());
        }
        if refusals.is_empty() {
            refusals.extend(in_order(self.session, &self.due_bindings()).await?);
        }
        Ok(refusals)
    }

    fn exchanges(&self) -> Result<Vec<Step>> {
        let [undeliverable, _, _] = undeliverable();
        let mut steps = vec![undeliverable, due_exchange()];
        let topics = self.topology.subscriptions.iter().map(|subscription| &subscription.topic);
        for topic in self.topology.topics.iter().chain(topics) {
            let step = Step::topic(topic)?;
            if !self.foreign.has(topic.as_str()) && !steps.contains(&step) {
                steps.push(step);
            }
        }
        for exchange in &self.foreign.exchanges {
            steps.push(exchange.step()?);
        }
        Ok(steps)
    }

    fn queues(&self) -> Vec<Step> {
        let [_, undeliverable, _] = undeliverable();
        let mut steps = vec![undeliverable];
        for plan in self.plans {
            match &plan.main {
                Main::Durable(form) => steps.push(Step::Queue(form.clone())),
                Main::Joined(name) => steps.push(existing(name.clone())),
                Main::Temporary(_) => {}
            }
            if !plan.dead_is_chosen {
                steps.push(Step::Queue(plan.dead.clone()));
            }
        }
        steps
    }

    /// A dead-letter queue that was named by choice is used as it is, or made if it is not there.
    async fn chosen_dead(&self, plan: &QueuePlan) -> Result<Option<Refusal>> {
        match alone(self.session, &existing(plan.dead.name.clone())).await? {
            Err(refusal) if refusal.kind() == ErrorKind::NotFound => {
                Ok(alone(self.session, &Step::Queue(plan.dead.clone())).await?.err())
            }
            answer => Ok(answer.err()),
        }
    }

    /// What is due comes to every queue by its own name. A queue that is joined is bound when
    /// something is delayed for it, by whoever does that: until then it is left as it is.
    fn due_bindings(&self) -> Vec<Step> {
        let lasting = self.plans.iter().filter_map(|plan| match &plan.main {
            Main::Durable(QueueForm { name, .. }) => Some(bind_due(name)),
            Main::Joined(_) | Main::Temporary(_) => None,
        });
        let [_, _, undeliverable] = undeliverable();
        [undeliverable].into_iter().chain(lasting).collect()
    }

    /// Queues that end with the connection, and what leads to them. One that is there already stays.
    async fn temporaries(&self) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        for plan in self.plans {
            let Main::Temporary(form) = &plan.main else { continue };
            let name = match self.given(&plan.spec.name).await? {
                Some(name) => name,
                None => match alone(self.session, &Step::Queue(form.clone())).await? {
                    Ok(name) => name,
                    Err(refusal) => {
                        refusals.push(refusal);
                        continue;
                    }
                },
            };
            self.names.give(&plan.spec.name, name.clone());
            let mut steps = vec![bind_due(&name)];
            steps.extend(self.temporary_bindings(&plan.spec.name, &name)?);
            refusals.extend(in_order(self.session, &steps).await?);
        }
        Ok(refusals)
    }

    /// What the broker calls the temporary queue, if it is still there.
    async fn given(&self, queue: &QueueName) -> Result<Option<ShortString>> {
        let Some(name) = self.names.given(queue) else { return Ok(None) };
        Ok(alone(self.session, &existing(name)).await?.ok())
    }

    fn temporary_bindings(&self, queue: &QueueName, name: &ShortString) -> Result<Vec<Step>> {
        let of_queue = self.topology.subscriptions.iter().filter(|known| known.queue == *queue);
        let bindings: Vec<TopicBinding> =
            of_queue.flat_map(|known| topic_bindings(&known.topic, &known.rules)).collect();
        let mut steps = betweens(bindings.iter())?;
        for binding in &bindings {
            steps.push(Step::Bind(Binding::of(binding, name)?));
        }
        Ok(steps)
    }

    /// Changes bindings, and the record around it: see the table above.
    async fn carry_out(&self, held: &mut Held, change: Change) -> Result<()> {
        let Change { before, bind, unbind, after } = change;
        if let Some(before) = before {
            held.write(&before).await?;
        }
        let (mut steps, mut own) = (betweens(bind.iter().map(|(_, binding)| binding))?, Vec::new());
        let bind = bind.iter().map(|(queue, binding)| (queue, binding, Step::Bind as fn(_) -> _));
        let unbind =
            unbind.iter().map(|(queue, binding)| (queue, binding, Step::Unbind as fn(_) -> _));
        for (queue, binding, step) in bind.chain(unbind) {
            let is_own = held.record().spec(queue).is_some_and(|spec| is_exclusive(&spec));
            let steps = if is_own { &mut own } else { &mut steps };
            steps.push(step(self.binding(queue, binding)?));
        }
        held.is_held()?;
        all_granted(in_order(held.session(), &steps).await?, |_| None)?;
        // The broker lets nobody else at a queue of one connection.
        all_granted(in_order(self.session, &own).await?, |_| None)?;
        match after {
            Some(after) => held.write(&after).await,
            None => Ok(()),
        }
    }

    /// Binds what is asked for, though it cannot be remembered.
    async fn bind_for_now(&self) -> Result<Vec<Refusal>> {
        let lasting: Vec<(&QueueName, TopicBinding)> = lasting(self.topology)
            .flat_map(|Subscription { queue, topic, rules }| {
                topic_bindings(topic, rules).into_iter().map(move |binding| (queue, binding))
            })
            .collect();
        let mut steps = betweens(lasting.iter().map(|(_, binding)| binding))?;
        for (queue, binding) in &lasting {
            steps.push(Step::Bind(self.binding(queue, binding)?));
        }
        in_order(self.session, &steps).await
    }

    fn binding(&self, queue: &QueueName, binding: &TopicBinding) -> Result<Binding> {
        Binding::of(binding, &short("queue", queue.as_str())?)
    }

    async fn bind_what_is_foreign(&self) -> Result<Vec<Refusal>> {
        let steps = self.foreign.bindings.iter().map(|binding| binding.step(self.names));
        in_order(self.session, &steps.collect::<Result<Vec<_>>>()?).await
    }

    /// Every queue that subscribes is there.
    fn is_complete(&self, record: &Record) -> Result<()> {
        let is_missing = |subscription: &&Subscription| {
            let queue = &subscription.queue;
            let is_declared = self.topology.queues.iter().any(|spec| spec.name == *queue);
            !is_declared && !record.has(queue)
        };
        let missing = self.topology.subscriptions.iter().filter(is_missing);
        let missing: Vec<String> = missing
            .map(|Subscription { queue, topic, .. }| {
                format!("there is no queue {queue} to subscribe to topic {topic}")
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "declare a topology").because(missing.join("; ")))
    }

    /// What a queue that was refused was declared with before, if it was remembered.
    fn since_declared(&self, record: Option<&Record>, refusal: &Refusal) -> Option<String> {
        let Step::Queue(QueueForm { name, .. }) = &refusal.step else { return None };
        let is_meant = |plan: &&QueuePlan| {
            plan.dead.name == *name
                || matches!(&plan.main, Main::Durable(form) if form.name == *name)
        };
        let plan = self.plans.iter().find(is_meant)?;
        since_declared(record?.spec(&plan.spec.name).as_ref(), &plan.spec)
    }
}

/// Lets go of the record, however the work on it has ended.
async fn finish(held: Held, done: Result<()>) -> Result<(), Missed> {
    match done {
        Ok(()) => Ok(held.release().await?),
        Err(error) => Err(held.missed(error).await),
    }
}

/// Whether the queue belongs to the connection that declared it.
fn is_exclusive(spec: &QueueSpec) -> bool {
    QueuePlan::of(spec).is_ok_and(|plan| match plan.main {
        Main::Durable(form) => form.options.exclusive,
        Main::Temporary(_) | Main::Joined(_) => false,
    })
}

/// Notes where the dead letters of remembered queues are.
pub(super) fn lasting_names(names: &Names, record: &Record) {
    for queue in record.queues() {
        let Some(spec) = record.spec(&queue) else { continue };
        if let Ok(plan) = QueuePlan::of(&spec) {
            names.choose_dead(&queue, plan.dead.name);
        }
    }
}

/// The exchanges in between, each once.
fn betweens<'a>(bindings: impl Iterator<Item = &'a TopicBinding>) -> Result<Vec<Step>> {
    let mut seen: Vec<&Between> = Vec::new();
    let mut steps = Vec::new();
    for binding in bindings {
        if let Some(between) = &binding.between
            && !seen.contains(&between)
        {
            seen.push(between);
            steps.extend(Step::between(&binding.topic, between)?);
        }
    }
    Ok(steps)
}

/// A queue that is to be there already.
fn existing(name: ShortString) -> Step {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Step::Queue(QueueForm { name, options, arguments: FieldTable::default() })
}
