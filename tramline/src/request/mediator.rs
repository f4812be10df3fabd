//! Requests inside this process, without a bus.

use super::fault::fault_of;
use super::responder::Responder;
use super::{REQUEST_LIMIT, Request, RequestError};
use crate::caught::panic_words;
use crate::handler::{Maker, Requirements};
use crate::pipeline::{Context, Incoming, States, Surroundings};
use crate::start::{Around, StartError, unmet};
use crate::stopping::Stopping;
use crate::{BoxFuture, Failure, Message};
use futures_util::FutureExt;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::Composer;

/// Hands requests to their responders inside this process: the same functions that answer on a bus. Nothing is
/// written down or retried. Clones are the same.
#[derive(Clone)]
pub struct Mediator(Arc<Responders>);

struct Responders {
    surroundings: Arc<Surroundings>,
    limit: Duration,
    /// By the type of the request; each is of type `Box<dyn Respond<R>>`.
    responders: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
}

/// Collects responders and what they ask for.
#[must_use = "requests can be made when it is started"]
pub struct MediatorBuilder {
    states: States,
    limit: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    responders: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    requirements: Vec<(&'static str, Requirements)>,
    problems: Vec<String>,
}

impl Mediator {
    /// A mediator that knows no responder yet.
    pub fn builder() -> MediatorBuilder {
        MediatorBuilder {
            states: States::default(),
            limit: REQUEST_LIMIT,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            responders: HashMap::new(),
            requirements: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Has `request` answered. Dropped, so is the responder's work.
    ///
    /// # Errors
    /// As on a bus, see [`RequestError`]: the responder failed, panicked, or took too long. What only it should
    /// know is in the log.
    pub async fn request<R: Request>(&self, request: R) -> Result<R::Reply, RequestError> {
        let failed = |failure: Failure| {
            let error = RequestError::Failed { request: R::NAME, failure: fault_of(&failure) };
            tracing::warn!(request = R::NAME, %failure, "a responder has failed");
            error
        };
        let responder = self.0.responders.get(&TypeId::of::<R>());
        let responder = responder.and_then(|one| one.downcast_ref::<Box<dyn Respond<R>>>());
        let Some(responder) = responder else {
            return Err(failed(Failure::unhandled(format!("nobody answers {}", R::NAME))));
        };
        let clock = &self.0.surroundings.composer.clock;
        let mut working = Working(self.context());
        let answered = AssertUnwindSafe(responder.respond(request, &mut working.0)).catch_unwind();
        let answered = tokio::select! {
            biased;
            answered = answered => answered,
            () = clock.sleep_until(clock.now().after(self.0.limit)) => {
                return Err(RequestError::TimedOut { request: R::NAME, after: self.0.limit });
            }
        };
        let answered = answered.unwrap_or_else(|payload| {
            Err(Failure::retryable(format!("panicked: {}", panic_words(payload))))
        });
        let reply = answered.map_err(failed)?;
        working.0.let_go();
        Ok(reply)
    }

    fn context(&self) -> Context {
        let surroundings = self.0.surroundings.clone();
        let nobody = Incoming::of_nobody(&surroundings.composer);
        Context::new(surroundings, nobody)
    }
}

impl MediatorBuilder {
    /// Adds what answers a request. One for each.
    pub fn respond<H: Responder<Args>, Args: 'static>(mut self, responder: H) -> Self {
        let name = <H::Request as Message>::NAME;
        let mut requirements = Requirements::default();
        H::requires(&mut requirements);
        self.requirements.push((name, requirements));
        let responder: Box<dyn Respond<H::Request>> = Box::new(Erased(responder, PhantomData));
        match self.responders.entry(TypeId::of::<H::Request>()) {
            Entry::Vacant(entry) => {
                entry.insert(Box::new(responder));
            }
            Entry::Occupied(_) => {
                self.problems.push(format!("two responders for the request {name}"))
            }
        }
        self
    }

    /// Shares `state` with responders, which ask for it by [`State<S>`](crate::State). One of each type.
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.share(state, &mut self.problems);
        self
    }

    /// Has `make` called for each run of a responder that asks for [`Scoped<V>`](crate::Scoped). One for each type.
    pub fn scoped<V, F, Made, E>(mut self, make: F) -> Self
    where
        V: Send + 'static,
        F: Fn() -> Made + Send + Sync + 'static,
        Made: Future<Output = Result<V, E>> + Send + 'static,
        E: Into<Failure>,
    {
        self.states.make(Maker::of(make), &mut self.problems);
        self
    }

    /// How long a request may take; [`REQUEST_LIMIT`] if not said.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Takes the time from `clock`; the machine's own if not said.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`StartError`] lists everything that is wrong: two responders for one request, states that are not there,
    /// responders that ask for what only a bus has (an outbox, a transaction, events).
    pub fn start(self) -> Result<Mediator, StartError> {
        let mut problems = self.problems;
        for (request, requirements) in &self.requirements {
            let who = format!("responder for {request}");
            problems.extend(unmet(&who, requirements, &self.states, Around::default()));
            let transactions = requirements.transactions.iter().map(|(_, store)| *store);
            let outbox = requirements.publishes.then_some("an outbox");
            for what in transactions.chain(outbox) {
                problems.push(format!(
                    "the responder for {request} asks for {what}, which only a bus has: give it to an endpoint, \
                     by `.respond(…)`"
                ));
            }
        }
        if !problems.is_empty() {
            return Err(StartError::of("the mediator", problems));
        }
        let composer =
            Composer { encoding: Encoding::Json, clock: self.clock, entropy: self.entropy };
        let surroundings = Arc::new(Surroundings::without_endpoint(
            Arc::new(composer),
            Arc::new(self.states),
            Stopping::default(),
            CancellationToken::new(),
        ));
        Ok(Mediator(Arc::new(Responders {
            surroundings,
            limit: self.limit,
            responders: self.responders,
        })))
    }
}

/// What a responder works in; what it has spawned works in vain unless it has succeeded.
struct Working(Context);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.end_run();
    }
}

/// A responder as an object.
trait Respond<R: Request>: Send + Sync {
    fn respond<'a>(
        &'a self,
        request: R,
        cx: &'a mut Context,
    ) -> BoxFuture<'a, Result<R::Reply, Failure>>;
}

struct Erased<H, Args>(H, PhantomData<fn() -> Args>);

impl<H: Responder<Args>, Args> Respond<H::Request> for Erased<H, Args> {
    fn respond<'a>(
        &'a self,
        request: H::Request,
        cx: &'a mut Context,
    ) -> BoxFuture<'a, Result<<H::Request as Request>::Reply, Failure>> {
        Box::pin(self.0.call(request, cx))
    }
}

impl fmt::Debug for Mediator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mediator").field("responders", &self.0.responders.len()).finish()
    }
}

impl fmt::Debug for MediatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: Vec<_> = self.requirements.iter().map(|(name, _)| *name).collect();
        f.debug_struct("MediatorBuilder").field("requests", &requests).finish_non_exhaustive()
    }
}
