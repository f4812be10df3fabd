//! A transaction is a unit of work, decided at commit.

use super::inbox::{InboxKey, Sighting};
use super::outbox::Outbox;
use super::schedules::{Plan, RecurringRow, ScheduleKey, Schedules};
use crate::clock::Timestamp;
use crate::compose::Scope;
use crate::transport::{Outgoing, Ticket};
use crate::{Error, Failure, Result};
use std::{fmt, sync::Arc};

/// Names a database, so that a store and a transport can see that they share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatabaseId(Arc<str>);

impl DatabaseId {
    /// A name that two handles have in common exactly if they are on the same database.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(name.as_ref().into())
    }
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A database that handlers write to.
pub trait Store: Send + Sync + 'static {
    /// What a handler works with; dropped uncommitted, it leaves nothing behind.
    type Tx: Send + 'static;
    /// What callers outside of handlers write and publish with: `bus.store(&store)` answers one.
    type Writer;

    /// The database.
    fn database(&self) -> DatabaseId;

    /// A new unit of work. `scope` says who publishes in it and what becomes of the messages.
    fn begin(&self, scope: Scope) -> impl Future<Output = Result<Self::Tx>> + Send;

    /// Executes and commits: the handler's writes, the messages published among them, those in
    /// `buffered` after them, and every condition, or nothing at all.
    ///
    /// Dropped before it is executed, nothing happens; dropped later, the store's word decides:
    /// treat it as [`CommitError::Unknown`].
    ///
    /// # Errors
    /// See [`CommitError`]. A refused condition is an answer: [`Committed::Refused`].
    fn commit(
        &self,
        tx: Self::Tx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> impl Future<Output = Result<Committed, CommitError>> + Send;

    /// What writes outside of handlers, with messages made as `scope` says. Tells `scope` when it could
    /// not write ([`Scope::tell`]), if this program can be outdated for this store.
    fn writer(&self, scope: Scope) -> Self::Writer;

    /// For each of `sightings`, what the inbox knows already: a cheap look before a handler
    /// runs. Only the row in the transaction is a guarantee.
    fn admitted(
        &self,
        sightings: &[Sighting],
    ) -> impl Future<Output = Result<Vec<Option<Refusal>>>> + Send;

    /// Forgets what `endpoint` handled before `before`, at most `limit` rows. Answers how many.
    /// Rows of other endpoints are not ours to forget: they may be kept for longer.
    fn prune_inbox(
        &self,
        endpoint: &str,
        before: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// The outbox, for a relay.
    fn outbox(&self) -> &dyn Outbox;

    /// The schedules, if this store keeps any.
    fn schedules(&self) -> Option<&dyn Schedules> {
        None
    }

    /// Whether a handler has failed only because this store could not be reached or did not answer. Its
    /// message comes back uncharged then. Stores that hand out connections of a library know that
    /// library's errors, too.
    fn is_away(&self, failure: &Failure) -> bool {
        failure.find::<Error>().is_some_and(Error::is_transient)
    }
}

/// What must hold for a transaction to commit. Decided at commit, together with the writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The delivery is still ours; it is acked.
    Ack(Ticket),
    /// The message is seen for the first time; an inbox row says so from now on.
    Admit(Sighting),
    /// The schedule still waits; it has fired from now on.
    Due {
        /// Which one.
        key: ScheduleKey,
        /// The moment from which it is remembered.
        now: Timestamp,
    },
    /// What recurs is as it was read; `next` is its next moment from now on.
    Tick {
        /// As it was read.
        row: RecurringRow,
        /// Its next moment.
        next: Timestamp,
    },
    /// Always holds: a schedule is changed with the rest. Its answer is not told.
    Plan(Plan),
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Everything is in.
    Done,
    /// Nothing is in: these conditions, by index, did not hold.
    Refused(Vec<(usize, Refusal)>),
}

/// Why a condition did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was handled before: ack it.
    Duplicate,
    /// The sender's idempotency key came before with another body: dead-letter it.
    KeyReused,
    /// Somebody else is at work on it: back to the queue, uncharged.
    Busy,
    /// The lease ended: somebody else has it or will get it.
    LeaseLost,
    /// The schedule is not as it was: it was fired by somebody else, replaced or cancelled.
    Changed,
}

/// Why a transaction did not commit.
#[derive(Debug)]
pub enum CommitError {
    /// One of the handler's own writes failed. Nothing is in.
    Handler(Failure),
    /// The store failed. Nothing is in.
    Store(Error),
    /// The answer was lost: it may be in.
    Unknown(Error),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(failure) => failure.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Unknown(error) => write!(f, "{error} (it may have been committed)"),
        }
    }
}

/// The cause is the text, so the chain goes on behind it.
impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handler(failure) => failure.source(),
            Self::Store(error) | Self::Unknown(error) => error.source(),
        }
    }
}

impl InboxKey {
    /// The key as one line, for logs.
    pub fn describe(&self) -> String {
        format!("{}/{}/{}", self.endpoint, self.message, self.key)
    }
}
