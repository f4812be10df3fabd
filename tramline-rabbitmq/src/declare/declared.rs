//! What was declared through one handle: it comes back with every new connection.

use super::ask::all_granted;
use super::foreign::{Binding, Exchange, Foreign};
use super::form::QueuePlan;
use super::full::Elsewhere;
use super::plan::plans;
use super::record::Record;
use super::registry::{Held, Missed};
use super::work::{Recorded, Work, lasting_names};
use crate::link::{Brief, Link, Session};
use crate::names::Names;
use crate::options::RabbitMqOptions;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::Topology;
use tramline_core::{Error, ErrorKind, Result};

/// How long a declaration may take in all, reconnecting included.
const LIMIT: Duration = Duration::from_secs(60);
/// How much longer than the broker takes to see that another process's host is gone its record is
/// waited for.
const TURN_SPARE: Duration = Duration::from_secs(5);
/// How long a new connection is kept from its users for the sake of bindings.
const BINDINGS_PATIENCE: Duration = Duration::from_secs(5);
/// Before bindings are tried again.
const CATCH_UP_PAUSE: Duration = Duration::from_secs(5);
/// Before the next attempt, when the broker could not do it for the moment.
const PAUSE: Duration = Duration::from_millis(200);

/// What was declared, and what the broker calls it.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) names: Names,
    options: Arc<RabbitMqOptions>,
    /// How long to wait for another process that declares.
    turn_limit: Duration,
    topology: Mutex<Topology>,
    /// What was declared while the broker took nothing, and so is not in the record. Held by who is
    /// at the record: what is declared later is not to be overwritten by this.
    unrecorded: tokio::sync::Mutex<Topology>,
    foreign: Mutex<Foreign>,
    /// Whether anything was: what users have added waits for the first declaration.
    begun: AtomicBool,
    pub(super) elsewhere: Elsewhere,
}

impl Declared {
    /// Nothing yet.
    pub(crate) fn new(options: Arc<RabbitMqOptions>) -> Self {
        Self {
            names: Names::default(),
            // A host that is gone is noticed after two heartbeats.
            turn_limit: options.heartbeat * 2 + TURN_SPARE,
            options,
            topology: Mutex::default(),
            unrecorded: tokio::sync::Mutex::default(),
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
    /// While the broker takes nothing, everything is there when this returns, but remembered later.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] names the argument that differs; [`ErrorKind::Unsupported`] and
    /// [`ErrorKind::Misconfigured`] tell everything that cannot be done, before anything is done.
    pub(crate) async fn declare(self: &Arc<Self>, link: &Link, topology: &Topology) -> Result<()> {
        let plans = plans(topology)?;
        let deadline = Deadline::after(SystemClock.now(), LIMIT);
        let mut last: Option<Error> = None;
        let tried = async {
            loop {
                let session = link.session(deadline).await?;
                let mut unrecorded = self.unrecorded.lock().await;
                match self.work(&session, topology, &plans).declare(self.turn_limit).await {
                    Ok(Recorded::Yes) => {
                        forget(&mut unrecorded, topology);
                        return Ok(());
                    }
                    Ok(Recorded::NotYet(blocked)) => {
                        remember(&mut unrecorded, topology);
                        self.catch_up(&session, Some(blocked));
                        return Ok(());
                    }
                    Err(error) if error.kind() == ErrorKind::Unavailable => {
                        tracing::debug!(%error, "could not declare, tries again");
                        last = Some(error);
                    }
                    Err(error) => return Err(error),
                }
                drop(unrecorded);
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(LIMIT, tried).await {
            Ok(done) => done?,
            Err(_) => {
                let last = last.map(|error| format!(", the last time it {error}"));
                return Err(Error::new(ErrorKind::TimedOut, "declare a topology").because(
                    format!(
                        "the broker did not do it within {LIMIT:?}{}",
                        last.unwrap_or_default()
                    ),
                ));
            }
        }
        remember(&mut self.topology.lock(), topology);
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Declares on the new connection what was declared before. Temporary queues come back empty and
    /// with another name.
    ///
    /// What the broker refuses now is told in the log and left as it is: others work on. Bindings are
    /// waited for a while, no longer: what is bound is bound, and consuming needs no more.
    ///
    /// # Errors
    /// The connection is gone again.
    pub(crate) async fn again(self: &Arc<Self>, session: &Session) -> Result<()> {
        let topology = self.topology();
        if !self.has_begun() {
            return Ok(());
        }
        let plans = plans(&topology)?;
        let refused = match self.work(session, &topology, &plans).restore().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            restored => restored.and_then(|refusals| all_granted(refusals, |_| None)),
        };
        if let Err(error) = refused {
            tracing::error!(%error, "could not declare again what was declared before");
        }
        let tried = self.catch_up(session, None);
        if tokio::time::timeout(BINDINGS_PATIENCE, tried.cancelled()).await.is_err() {
            tracing::debug!("bindings are made again later");
        }
        Ok(())
    }

    /// Brings the record and its bindings up to date, as long as the connection lasts; with the next
    /// one it begins anew. Begins when the broker takes something again from the connection that is
    /// `blocked`. The token is cancelled after the first attempt.
    fn catch_up(
        self: &Arc<Self>,
        session: &Session,
        mut blocked: Option<Brief>,
    ) -> CancellationToken {
        let tried = CancellationToken::new();
        let (declared, session, first) =
            (self.clone(), session.clone(), tried.clone().drop_guard());
        tokio::spawn(async move {
            let mut first = Some(first);
            let caught_up = async {
                loop {
                    if let Some(blocked) = blocked.take() {
                        blocked.session().unblocked().await;
                    }
                    match declared.catch_up_once(&session).await {
                        Ok(()) => return,
                        Err(Missed::Blocked(brief, error)) => {
                            tracing::warn!(%error, "bindings are not made again yet");
                            blocked = Some(brief);
                        }
                        Err(Missed::Failed(error)) => {
                            tracing::warn!(%error, "bindings are not made again");
                            let helps = [ErrorKind::Unavailable, ErrorKind::TimedOut];
                            if !helps.contains(&error.kind()) {
                                return;
                            }
                            tokio::time::sleep(CATCH_UP_PAUSE).await;
                        }
                    }
                    first.take();
                }
            };
            if session.unless_it_ends(caught_up).await.is_err() {
                tracing::debug!("bindings are left to the next connection");
            }
        });
        tried
    }

    async fn catch_up_once(&self, session: &Session) -> Result<(), Missed> {
        let mut unrecorded = self.unrecorded.lock().await;
        let topology = self.topology();
        let plans = plans(&topology)?;
        let work = self.work(session, &topology, &plans);
        work.catch_up(&unrecorded, self.turn_limit).await?;
        *unrecorded = Topology::default();
        Ok(())
    }

    fn work<'a>(
        &'a self,
        session: &'a Session,
        topology: &'a Topology,
        plans: &'a [QueuePlan],
    ) -> Work<'a> {
        let foreign = self.foreign.lock().clone();
        Work { options: &self.options, session, names: &self.names, topology, plans, foreign }
    }

    /// Everything that was declared in this vhost, by whomever.
    ///
    /// # Errors
    /// The broker cannot be reached, or another process holds the record.
    pub(crate) async fn recall(&self, session: &Session) -> Result<Record> {
        let recalled = async {
            let held = Held::take(&self.options, self.turn_limit);
            let held = held.await.map_err(Missed::into_error)?;
            let record = held.record().clone();
            held.release().await?;
            Ok(record)
        };
        // Whoever closes the bus waits for nothing that was asked of it.
        let record = session.unless_it_ends(recalled).await??;
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
        let work = self.work(session, &topology, &[]);
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

/// `known` without what is declared in `new`.
fn forget(known: &mut Topology, new: &Topology) {
    remember(known, new);
    let is_new = |queue: &QueueName| new.queues.iter().any(|spec| spec.name == *queue);
    known.queues.retain(|spec| !is_new(&spec.name));
    known.topics.retain(|topic| !new.topics.contains(topic));
    known.subscriptions.retain(|known| !new.subscriptions.contains(known));
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
