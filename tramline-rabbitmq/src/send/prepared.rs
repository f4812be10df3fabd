//! What is known to be there while one channel lasts.

use super::route::{Need, Route};
use crate::declare::QueueForm;
use crate::declare::step::{ExchangeForm, Step};
use crate::delay::{Hop, bind_due, shared_steps, steps};
use crate::error;
use crate::link::Session;
use crate::names::UNDELIVERABLE;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tramline_core::{Error, ErrorKind, Result};

/// Remembers what was declared or looked for, so that each is asked of the broker once.
///
/// It asks on a channel of its own: what the broker refuses there closes no other.
pub(crate) struct Prepared {
    session: Session,
    known: Mutex<Known>,
    /// One asks at a time for what messages are sent to.
    asking: Asking,
    /// And one for stages: a stage that does not answer must hold up nothing but what is delayed.
    asking_for_stages: Asking,
}

/// A channel that is in no call, if one is open.
type Asking = tokio::sync::Mutex<Option<Channel>>;

#[derive(Default)]
struct Known {
    has_stages: bool,
    needs: HashSet<Need>,
    hops: HashSet<Hop>,
    /// Since when the broker has not declared what all stages stand on.
    shared_is_silent: Option<Instant>,
    /// Of what the broker did not declare in time, since when.
    silent: HashMap<Hop, Instant>,
}

/// How long the broker may take to declare a stage, and how long it is not asked again if it did not.
const STAGE_LIMIT: Duration = Duration::from_secs(10);

impl Known {
    fn has_stages_of(&self, route: &Route) -> bool {
        self.has_stages && route.hops.iter().all(|hop| self.hops.contains(hop))
    }
}

impl Prepared {
    /// Nothing is known.
    pub(crate) fn new(session: Session) -> Self {
        let (asking, asking_for_stages) = (Asking::default(), Asking::default());
        Self { session, known: Mutex::default(), asking, asking_for_stages }
    }

    /// Whether it is known that `route` can be taken.
    pub(crate) fn is_prepared(&self, route: &Route) -> bool {
        if !route.is_delayed() && route.needs.is_none() {
            return true;
        }
        let known = self.known.lock();
        (!route.is_delayed() || known.has_stages_of(route))
            && route.needs.as_ref().is_none_or(|need| known.needs.contains(need))
    }

    /// Sees to it that `route` can be taken.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the message is for something that is not there;
    /// [`ErrorKind::Unavailable`] if the connection broke; what else the broker says.
    pub(crate) async fn prepare(&self, route: &Route) -> Result<()> {
        let needs_stages = route.is_delayed() && !self.known.lock().has_stages_of(route);
        // What is asked for on the way to a queue is bound to what all stages share, and those lead to that.
        if needs_stages {
            self.ask_for_stages(&[]).await?;
        }
        if let Some(need) = &route.needs
            && !self.known.lock().needs.contains(need)
        {
            self.ask_for(need).await?;
        }
        if needs_stages {
            self.ask_for_stages(&route.hops).await?;
        }
        Ok(())
    }

    /// The stages of a route were not there any more.
    pub(crate) fn forget_stages(&self) {
        let mut known = self.known.lock();
        known.has_stages = false;
        known.hops.clear();
    }

    async fn ask_for(&self, need: &Need) -> Result<()> {
        let mut asking = self.asking.lock().await;
        // Others may have asked while this one waited for its turn.
        if self.known.lock().needs.contains(need) {
            return Ok(());
        }
        // The broker closes a channel with its refusal, and one that was given up in a call has yet
        // to hear the end of it: only what has ended well is used again.
        let mut channel = asking.take();
        self.find(&mut channel, need).await?;
        *asking = channel;
        self.known.lock().needs.insert(need.clone());
        Ok(())
    }

    async fn ask_for_stages(&self, hops: &[Hop]) -> Result<()> {
        let mut asking = self.asking_for_stages.lock().await;
        let mut channel = asking.take();
        if !self.known.lock().has_stages {
            self.declare_shared(&mut channel).await?;
        }
        for hop in hops {
            if !self.known.lock().hops.contains(hop) {
                self.declare_hop(&mut channel, hop).await?;
            }
        }
        *asking = channel;
        Ok(())
    }

    /// For a while, no longer, like each stage.
    async fn declare_shared(&self, asking: &mut Option<Channel>) -> Result<()> {
        let is_silent = |since: Instant| since.elapsed() < STAGE_LIMIT;
        if self.known.lock().shared_is_silent.is_some_and(is_silent) {
            return Err(silent_shared());
        }
        match tokio::time::timeout(STAGE_LIMIT, self.declare(asking, shared_steps())).await {
            Ok(declared) => declared?,
            Err(_) => {
                self.known.lock().shared_is_silent = Some(Instant::now());
                return Err(silent_shared());
            }
        }
        let mut known = self.known.lock();
        known.shared_is_silent = None;
        known.has_stages = true;
        Ok(())
    }

    /// For a while, no longer: others wait to declare another stage.
    async fn declare_hop(&self, asking: &mut Option<Channel>, hop: &Hop) -> Result<()> {
        let is_silent = |since: &Instant| since.elapsed() < STAGE_LIMIT;
        if self.known.lock().silent.get(hop).is_some_and(is_silent) {
            return Err(silent(hop));
        }
        match tokio::time::timeout(STAGE_LIMIT, self.declare(asking, steps(hop))).await {
            Ok(declared) => declared?,
            Err(_) => {
                self.known.lock().silent.insert(hop.clone(), Instant::now());
                return Err(silent(hop));
            }
        }
        let mut known = self.known.lock();
        known.silent.remove(hop);
        known.hops.insert(hop.clone());
        Ok(())
    }

    async fn find(&self, asking: &mut Option<Channel>, need: &Need) -> Result<()> {
        match need {
            Need::Queue(queue) => match self.declare(asking, vec![bind_due(queue)]).await {
                // An exclusive queue is bound by the connection that has it, when it is declared.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    *asking = None;
                    Ok(())
                }
                bound => bound,
            },
            Need::Exchange(exchange) => look_for(self.channel(asking).await?, exchange).await,
            // Looked for first: who may publish need not be allowed to declare.
            Need::Topic(topic) => match look_for(self.channel(asking).await?, topic).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    *asking = None;
                    declare_topic(self.channel(asking).await?, topic).await
                }
                found => found,
            },
        }
    }

    async fn declare(&self, asking: &mut Option<Channel>, steps: Vec<Step>) -> Result<()> {
        let channel = self.channel(asking).await?;
        for step in steps {
            step.ask(channel).await.map_err(|error| step_failed(&step, error))?;
        }
        Ok(())
    }

    async fn channel<'a>(&self, asking: &'a mut Option<Channel>) -> Result<&'a Channel> {
        let channel = match asking.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.session.channel().await?,
        };
        Ok(asking.insert(channel))
    }
}

/// A queue whose leader is gone for good answers nothing.
fn silent(hop: &Hop) -> Error {
    no_answer(format!("declare the next stage of a delay behind `{}`: {}", hop.from, hop.to))
}

/// The same of the only queue that all delays stand on.
fn silent_shared() -> Error {
    no_answer(format!("declare what all delays need, with queue {UNDELIVERABLE}"))
}

fn no_answer(doing: String) -> Error {
    Error::new(ErrorKind::Unavailable, doing).because(format!(
        "the broker did not answer within {STAGE_LIMIT:?}; if it never does, the queue has no leader \
         and has to be deleted, with what it holds"
    ))
}

/// Of a refusal, with the permissions that the step takes.
fn step_failed(step: &Step, error: lapin::Error) -> Error {
    let needs = match step {
        Step::Exchange(ExchangeForm { name, .. }) | Step::Queue(QueueForm { name, .. }) => {
            format!("to configure `{name}`")
        }
        Step::Bind(binding) | Step::Unbind(binding) | Step::BindExchange(binding) => {
            format!("to write to `{}` and to read from `{}`", binding.to, binding.from)
        }
    };
    failed(step.to_string(), &needs, error)
}

fn failed(doing: String, needs: &str, error: lapin::Error) -> Error {
    match error::kind(&error) {
        ErrorKind::Refused => Error::new(ErrorKind::Refused, doing)
            .because(format!("{error} (the user needs the permission {needs})")),
        _ => error::failed(doing, error),
    }
}

async fn look_for(channel: &Channel, exchange: &ShortString) -> Result<()> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let (kind, arguments) = (ExchangeKind::Topic, FieldTable::default());
    let found = channel.exchange_declare(exchange.clone(), kind, options, arguments).await;
    found.map_err(|error| error::failed(format!("find the exchange {exchange}"), error))
}

async fn declare_topic(channel: &Channel, topic: &ShortString) -> Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (kind, arguments) = (ExchangeKind::Topic, FieldTable::default());
    let declared = channel.exchange_declare(topic.clone(), kind, options, arguments).await;
    let needs = format!("to configure `{topic}`, or somebody who has it declares the topic");
    declared.map_err(|error| failed(format!("declare the topic {topic}"), &needs, error))
}
