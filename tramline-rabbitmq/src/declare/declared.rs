//! What was declared through one handle: it comes back with every new connection.

use super::foreign::{Binding, Exchange, Foreign};
use super::full::Elsewhere;
use super::plan::plans;
use super::record::Record;
use super::registry::Held;
use super::work::{Work, lasting_names};
use crate::link::{Link, Session};
use crate::names::Names;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::Topology;
use tramline_core::{Error, ErrorKind, Result};

/// How long a declaration may take in all, reconnecting included.
const LIMIT: Duration = Duration::from_secs(60);
/// How much longer than the broker takes to see that another process's host is gone its record is
/// waited for.
const TURN_SPARE: Duration = Duration::from_secs(5);
/// Before the next attempt, when the broker could not do it for the moment.
const PAUSE: Duration = Duration::from_millis(200);

/// What was declared, and what the broker calls it.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) names: Names,
    /// How long to wait for another process that declares.
    turn_limit: Duration,
    topology: Mutex<Topology>,
    foreign: Mutex<Foreign>,
    /// Whether anything was: what users have added waits for the first declaration.
    begun: AtomicBool,
    pub(super) elsewhere: Elsewhere,
}

impl Declared {
    /// Nothing yet. A host that is gone is noticed after two times `heartbeat`.
    pub(crate) fn new(heartbeat: Duration) -> Self {
        Self {
            names: Names::default(),
            turn_limit: heartbeat * 2 + TURN_SPARE,
            topology: Mutex::default(),
            foreign: Mutex::default(),
            begun: AtomicBool::new(false),
            elsewhere: Elsewhere::default(),
        }
    }

    /// Whether anything was declared, which comes back with each connection.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Adds an exchange to what is declared from now on.
    pub(crate) fn add_exchange(&self, exchange: Exchange) {
        self.foreign.lock().exchanges.push(exchange);
    }

    /// Adds a binding to what is declared from now on.
    pub(crate) fn add_binding(&self, binding: Binding) {
        self.foreign.lock().bindings.push(binding);
    }

    /// Makes sure that everything in `topology` is there, and everything that users have added.
    /// What is asked is idempotent: a connection that breaks meanwhile is waited for, and everything
    /// is asked again.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] names the argument that differs; [`ErrorKind::Unsupported`] and
    /// [`ErrorKind::Misconfigured`] tell everything that cannot be done, before anything is done.
    pub(crate) async fn declare(&self, link: &Link, topology: &Topology) -> Result<()> {
        let plans = plans(topology)?;
        let deadline = Deadline::after(SystemClock.now(), LIMIT);
        let tried = async {
            loop {
                let session = link.session(deadline).await?;
                let foreign = self.foreign.lock().clone();
                let work = Work {
                    session: &session,
                    names: &self.names,
                    topology,
                    plans: &plans,
                    foreign,
                };
                match work.declare(self.turn_limit).await {
                    Err(error) if error.kind() == ErrorKind::Unavailable => {
                        tracing::debug!(%error, "could not declare, tries again");
                        tokio::time::sleep(PAUSE).await;
                    }
                    done => return done,
                }
            }
        };
        match tokio::time::timeout(LIMIT, tried).await {
            Ok(done) => done?,
            Err(_) => {
                return Err(Error::new(ErrorKind::TimedOut, "declare a topology")
                    .because(format!("the broker did not answer within {LIMIT:?}")));
            }
        }
        remember(&mut self.topology.lock(), topology);
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Declares on the new connection what was declared before. Temporary queues come back empty and
    /// with another name.
    ///
    /// What the broker refuses now is told in the log and left as it is: others work on.
    ///
    /// # Errors
    /// The connection is gone again.
    pub(crate) async fn again(&self, session: &Session) -> Result<()> {
        let topology = self.topology();
        let foreign = self.foreign.lock().clone();
        if !self.has_begun() {
            return Ok(());
        }
        let plans = plans(&topology)?;
        let work =
            Work { session, names: &self.names, topology: &topology, plans: &plans, foreign };
        match work.restore(self.turn_limit).await {
            Err(error) if error.kind() != ErrorKind::Unavailable => {
                tracing::error!(%error, "could not declare again what was declared before");
                Ok(())
            }
            done => done,
        }
    }

    /// Everything that was declared in this vhost, by whomever.
    ///
    /// # Errors
    /// The broker cannot be reached, or another process holds the record.
    pub(crate) async fn recall(&self, session: &Session) -> Result<Record> {
        let held = Held::take(session, self.turn_limit).await?;
        let record = held.record().clone();
        held.release().await?;
        lasting_names(&self.names, &record);
        Ok(record)
    }

    /// Ends the subscription of `queue` to `topic`. Answers whether there was one.
    ///
    /// # Errors
    /// The broker cannot be reached, or another process holds the record.
    pub(crate) async fn unsubscribe(
        &self,
        session: &Session,
        queue: &QueueName,
        topic: &TopicName,
    ) -> Result<bool> {
        let topology = Topology::default();
        let foreign = Foreign::default();
        let work = Work { session, names: &self.names, topology: &topology, plans: &[], foreign };
        let ended = work.unsubscribe(queue, topic, self.turn_limit).await?;
        let is_other = |other: (&QueueName, &TopicName)| other != (queue, topic);
        self.topology.lock().subscriptions.retain(|known| is_other((&known.queue, &known.topic)));
        Ok(ended)
    }

    /// Everything that was declared through this handle.
    pub(super) fn topology(&self) -> Topology {
        self.topology.lock().clone()
    }
}

/// `known` and what is `new`; of what both say, the new holds.
fn remember(known: &mut Topology, new: &Topology) {
    let is_new = |queue: &QueueName| new.queues.iter().any(|spec| spec.name == *queue);
    known.queues.retain(|spec| !is_new(&spec.name));
    known.queues.extend(new.queues.iter().cloned());
    known.topics.retain(|topic| !new.topics.contains(topic));
    known.topics.extend(new.topics.iter().cloned());
    known.subscriptions.retain(|old| {
        let replaced = |new: &tramline_core::topology::Subscription| {
            (&new.queue, &new.topic) == (&old.queue, &old.topic)
        };
        !is_new(&old.queue) && !new.subscriptions.iter().any(replaced)
    });
    known.subscriptions.extend(new.subscriptions.iter().cloned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use tramline_core::topology::{QueueSpec, Rule, Subscription};

    fn topology(queue: &str, topics: &[&str]) -> Topology {
        let queue = QueueName::foreign(queue);
        let subscription = |topic: &&str| Subscription {
            queue: queue.clone(),
            topic: TopicName::foreign(topic),
            rules: vec![Rule::subject("#")],
        };
        Topology {
            queues: vec![QueueSpec::new(queue.clone())],
            topics: topics.iter().map(TopicName::foreign).collect(),
            subscriptions: topics.iter().map(subscription).collect(),
        }
    }

    #[test]
    fn who_declares_last_says_what_comes_back() {
        let mut known = Topology::default();
        remember(&mut known, &topology("work", &["orders", "stock"]));
        remember(&mut known, &topology("mail", &["orders"]));
        remember(&mut known, &topology("work", &["stock"]));
        let queues: Vec<_> = known.queues.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(queues, ["mail", "work"]);
        assert_eq!(known.topics.len(), 2);
        let shown = |known: &Subscription| format!("{} {}", known.queue, known.topic);
        let subscriptions: Vec<_> = known.subscriptions.iter().map(shown).collect();
        assert_eq!(subscriptions, ["mail orders", "work stock"]);
    }
}
