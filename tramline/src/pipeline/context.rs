//! What handlers, extractors and layers can know about the message at hand.

use crate::at_work::Known;
use crate::breaker::Permit;
use crate::events::Raised;
use crate::pipeline::{Buffer, Incoming, Loan, Surroundings, Trial};
use crate::{Failure, MessageId};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tramline_core::compose::Scope;
use tramline_core::envelope::Envelope;
use tramline_core::erased::DynStore;

/// A message at work: one for each delivery, whatever the number of runs.
pub struct Context {
    pub(crate) surroundings: Arc<Surroundings>,
    /// The message; of a batch, the first.
    pub(crate) message: Incoming,
    /// The rest of a batch; `None` where messages come one by one.
    others: Option<Vec<Incoming>>,
    pub(crate) buffer: Buffer,
    pub(crate) tx: Option<Loan>,
    /// How to open another transaction in this one's place.
    pub(crate) opens: Option<(Arc<dyn DynStore>, Scope)>,
    /// The handlers have run since the transaction was opened.
    pub(crate) has_run: bool,
    /// Made when a handler asks for it: most do not.
    cancel: Option<(CancellationToken, Known)>,
    /// Messages of which a handler that knew how to ask was told that they are cancelled.
    cancelled: Vec<MessageId>,
    /// The error callback knows of this run's failure.
    is_reported: bool,
    pub(crate) disposition: Disposition,
    /// Of a batch: the messages, by index, that have failed in a run that has not.
    pub(crate) item_failures: BTreeMap<usize, Failure>,
    /// It may kill the process, and is handled alone.
    pub(crate) trial: Option<Trial>,
    /// A circuit breaker tries with it.
    pub(crate) permit: Option<Box<Permit>>,
    /// If it comes again, it stays away for so long at least.
    pub(crate) pause_min: Duration,
    /// A domain event is at work, and not a message.
    pub(crate) event: Option<Raised>,
    slots: HashMap<TypeId, Box<dyn Any + Send>>,
}

/// What a transaction made of the delivery. Normal answers, so none of them is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Nothing yet: the engine settles as the outcome says.
    #[default]
    Open,
    /// The ack was part of the transaction.
    SettledByStore,
    /// These messages, by index, were refused, and nothing was committed.
    Refused(Vec<(usize, tramline_core::store::Refusal)>),
    /// Some messages of the batch have failed, so nothing was committed: the others run again without them.
    RolledBack,
    /// The store was away: nothing was committed, or nobody knows whether it was.
    Unknown,
    /// Somebody else, to whom the message is to go, takes nothing now: it comes back uncharged.
    Away,
    /// No handler has begun: some of the messages have expired while they waited for their turn.
    Expired,
    /// No handler has begun: the circuit breaker let nobody through.
    Shut,
    /// The run was to try whether the dependency is back, which it is not: again after so long.
    ProbeFailed(Duration),
}

impl Context {
    pub(crate) fn new(surroundings: Arc<Surroundings>, message: Incoming) -> Self {
        Self {
            surroundings,
            message,
            others: None,
            buffer: Buffer::default(),
            tx: None,
            opens: None,
            has_run: false,
            cancel: None,
            cancelled: Vec::new(),
            is_reported: false,
            disposition: Disposition::Open,
            item_failures: BTreeMap::new(),
            trial: None,
            permit: None,
            pause_min: Duration::ZERO,
            event: None,
            slots: HashMap::new(),
        }
    }

    /// A batch: `first` and `others`, of which there may be none.
    pub(crate) fn of_batch(
        surroundings: Arc<Surroundings>,
        first: Incoming,
        others: Vec<Incoming>,
    ) -> Self {
        Self { others: Some(others), ..Self::new(surroundings, first) }
    }

    /// The endpoint at work.
    pub fn endpoint(&self) -> &str {
        &self.surroundings.name
    }

    /// The message; of a batch, the first.
    pub fn envelope(&self) -> &Arc<Envelope> {
        &self.message.envelope
    }

    /// The message's id; of a batch, the first one's. A message that came without one has an id
    /// for the time of this delivery.
    pub fn message_id(&self) -> &MessageId {
        &self.message.id
    }

    /// Which run of the message this is: its failures + 1.
    pub fn attempt(&self) -> u32 {
        self.message.failures.saturating_add(1)
    }

    /// How many messages are at work together: 1, or the size of the batch.
    pub fn batch_len(&self) -> usize {
        1 + self.others.as_ref().map_or(0, Vec::len)
    }

    /// Keeps a value of the user's for layers and extractors further in; answers the one it
    /// replaces.
    pub fn insert<T: Send + 'static>(&mut self, value: T) -> Option<T> {
        let old = self.slots.insert(TypeId::of::<T>(), Box::new(value))?;
        old.downcast().ok().map(|old| *old)
    }

    /// A value that a layer further out has kept.
    pub fn get<T: Send + 'static>(&self) -> Option<&T> {
        self.slots.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// The user's state of type `T`.
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.surroundings.states.get()
    }

    /// What tells a handler that its work is in vain.
    pub(crate) fn cancel_token(&mut self) -> CancellationToken {
        if let Some((token, _)) = &self.cancel {
            return token.clone();
        }
        let token = self.surroundings.killed.child_token();
        let ids = self.messages().map(|message| message.id.clone()).collect();
        let Surroundings { handlers, identity, .. } = &*self.surroundings;
        let known = handlers.enter(identity, ids, token.clone());
        self.cancel = Some((token.clone(), known));
        token
    }

    /// The work has succeeded: what it has spawned is not in vain.
    pub(crate) fn let_go(&mut self) {
        if let Some((_, known)) = self.cancel.take() {
            self.cancelled.extend(known.end());
        }
    }

    /// The work is in vain.
    pub(crate) fn cancel(&mut self) {
        if let Some((token, known)) = self.cancel.take() {
            self.cancelled.extend(known.end());
            token.cancel();
        }
    }

    /// The messages that were cancelled while a handler of this context knew how to ask. It is told nothing more.
    pub(crate) fn end_cancelling(&mut self) -> Vec<MessageId> {
        self.let_go();
        std::mem::take(&mut self.cancelled)
    }

    /// Whether one of its messages was cancelled, as far as its handlers could ask.
    pub(crate) fn is_cancelled(&self) -> bool {
        !self.cancelled.is_empty()
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &Incoming> {
        std::iter::once(&self.message).chain(self.others.iter().flatten())
    }

    /// Whether the handler takes batches, even if this one is of a single message.
    pub(crate) fn is_batch(&self) -> bool {
        self.others.is_some()
    }

    /// A clean slate for another run of the handler.
    pub(crate) fn begin_run(&mut self) {
        self.buffer.renew();
        self.has_run = false;
        self.tx = None;
        self.opens = None;
        self.disposition = Disposition::Open;
        self.is_reported = false;
    }

    /// Throws away what the handlers have written and published since the transaction was opened.
    /// A `Tx` that is still out, in a task that was spawned, belongs to nothing any more.
    pub(crate) async fn start_over(&mut self) -> Result<(), Failure> {
        self.buffer.renew();
        if let Some((store, scope)) = &self.opens {
            let tx = store.begin_dyn(scope.clone()).await.map_err(Failure::retryable)?;
            self.tx = Some(Loan::of(tx));
        }
        Ok(())
    }

    /// A run has failed or was dropped: its transaction is over, what it has published is thrown
    /// away, and what it has spawned works in vain.
    pub(crate) fn end_run(&mut self) {
        self.buffer.close();
        self.tx = None;
        self.opens = None;
        self.cancel();
    }

    /// Whether the message has lost its meaning; of a batch, any.
    pub(crate) fn is_expired(&self) -> bool {
        let clock = &self.surroundings.composer.clock;
        self.messages().any(|Incoming { envelope, .. }| {
            envelope.expires_at.is_some() && envelope.is_expired(clock.now())
        })
    }

    /// Tells the error callback that this run failed, once.
    pub(crate) fn report(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.is_reported, true) {
            self.surroundings.report(&self.message, failure);
        }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("endpoint", &self.surroundings.name)
            .field("message", &self.message)
            .field("batch", &self.batch_len())
            .finish_non_exhaustive()
    }
}
