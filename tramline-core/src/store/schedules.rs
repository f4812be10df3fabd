//! Schedules: messages that leave at a moment unless they are cancelled, and moments that come again.

use crate::clock::Timestamp;
use crate::transport::Outgoing;
use crate::{BoxFuture, Result};
use std::sync::Arc;
use std::time::Duration;

/// For how long the name of a schedule that has fired or was cancelled is remembered.
pub const NAME_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where schedules are kept. Used as an object only.
///
/// Nobody claims anything here: whoever finds a schedule due commits its message together with
/// [`Condition::Due`](super::Condition::Due) or [`Condition::Tick`](super::Condition::Tick), and of several who
/// try, one commits. So nobody's death delays a schedule.
pub trait Schedules: Send + Sync {
    /// Carries out `plans`, all or none, in their order; an answer for each. Dropped, they may be carried out
    /// nevertheless.
    fn plan(&self, plans: Vec<Plan>) -> BoxFuture<'_, Result<Vec<Planned>>>;

    /// What there is to do at `now`: up to `limit` schedules that are due, the earliest first, and everything
    /// that recurs.
    fn look(&self, limit: u32, now: Timestamp) -> BoxFuture<'_, Result<Look>>;

    /// This one could not leave: it is not looked at again before `until`. It is left alone if it was replaced,
    /// cancelled or fired meanwhile.
    fn postpone<'a>(&'a self, key: &'a ScheduleKey, until: Timestamp) -> BoxFuture<'a, Result<()>>;

    /// Up to `limit` schedules that wait, behind the name `after`, by their names as bytes.
    fn waiting<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Waiting>>>;

    /// Forgets up to `limit` names that were to be remembered until `now` at most. Answers how many.
    fn prune(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64>>;

    /// How often something may have become due earlier, as far as this process was told.
    fn changes(&self) -> u64;

    /// Ends when there are more [changes](Self::changes) than `seen`. Whoever reads them before he looks misses
    /// none. Cancel-safe.
    fn changed_since(&self, seen: u64) -> BoxFuture<'_, ()>;
}

/// What becomes of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name. What recurs has names of its own.
    pub name: String,
    /// When this was asked for: names are remembered from then on.
    pub now: Timestamp,
    /// What is asked.
    pub change: Change,
}

/// What is asked of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It fires once, in the place of what there was under its name.
    Put {
        /// Drawn by chance: tells it from all others that had or will have its name.
        token: i64,
        /// When.
        due: Timestamp,
        /// What leaves then, with its id.
        outgoing: Outgoing,
        /// Although it was cancelled.
        anew: bool,
    },
    /// It does not fire, whether it is known yet or not.
    Cancel,
    /// It recurs.
    Recur {
        /// Drawn by chance, for a name that is new.
        token: i64,
        /// The rhythm: an opaque text.
        rhythm: String,
        /// The first moment, unless it recurs in this rhythm already.
        due: Timestamp,
    },
    /// What recurs is silent from now on, or not any more.
    Pause(bool),
}

/// What is answered to a [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// It is so.
    Done,
    /// [`Change::Put`]: nothing, because it was cancelled before.
    AlreadyCancelled,
    /// [`Change::Cancel`]: it will not fire.
    Cancelled,
    /// [`Change::Cancel`]: it has fired.
    TooLate,
    /// [`Change::Cancel`]: nobody knows it. It will not fire if somebody schedules it yet.
    NotYetKnown,
    /// [`Change::Pause`]: nothing recurs under this name.
    NotFound,
}

/// What there is to do.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Is due.
    pub due: Vec<DueSchedule>,
    /// When the next one is to be looked at that is not due yet.
    pub next: Option<Timestamp>,
    /// Everything that recurs, by name.
    pub recurring: Vec<RecurringRow>,
}

/// Names a schedule, and no other that had or will have its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScheduleKey {
    /// Its name.
    pub name: String,
    /// Its token.
    pub token: i64,
}

/// A schedule that is due.
#[derive(Clone, Debug)]
pub struct DueSchedule {
    /// Which one.
    pub key: ScheduleKey,
    /// When it was to fire.
    pub due: Timestamp,
    /// What leaves.
    ///
    /// # Errors
    /// Why the row cannot be read.
    pub outgoing: Result<Outgoing>,
}

/// A schedule that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub name: String,
    /// When it fires.
    pub due: Timestamp,
}

/// What recurs, as it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecurringRow {
    /// Its name.
    pub name: String,
    /// Drawn by chance when it was made.
    pub token: i64,
    /// The rhythm.
    pub rhythm: Arc<str>,
    /// The next moment.
    pub due: Timestamp,
    /// It is silent.
    pub is_paused: bool,
}

/// A schedule that waits or is remembered, as far as it matters for [`Plan`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleState {
    /// It waits.
    Waits,
    /// It has fired.
    Fired,
    /// It was cancelled while it waited.
    Cancelled,
    /// It was cancelled before anybody knew it.
    CancelledUnknown,
    /// It was cancelled when it had fired. The next one of its name, which that may have overtaken, does not fire.
    CancelledLate,
}

impl ScheduleState {
    /// What a cancellation answers and leaves behind.
    pub fn cancelled(known: Option<Self>) -> (Planned, Self) {
        match known {
            Some(Self::Waits | Self::Cancelled) => (Planned::Cancelled, Self::Cancelled),
            Some(Self::Fired | Self::CancelledLate) => (Planned::TooLate, Self::CancelledLate),
            Some(Self::CancelledUnknown) | None => (Planned::NotYetKnown, Self::CancelledUnknown),
        }
    }

    /// Whether another one of its name is not to fire.
    pub fn is_cancelled(self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledUnknown | Self::CancelledLate)
    }

    /// As a number in a column.
    pub fn number(self) -> i64 {
        match self {
            Self::Waits => 0,
            Self::Fired => 1,
            Self::Cancelled => 2,
            Self::CancelledUnknown => 3,
            Self::CancelledLate => 4,
        }
    }

    /// What [`number`](Self::number) has written.
    pub fn of(number: i64) -> Option<Self> {
        use ScheduleState::{Cancelled, CancelledLate, CancelledUnknown, Fired, Waits};
        let all = [Waits, Fired, Cancelled, CancelledUnknown, CancelledLate];
        all.into_iter().find(|state| state.number() == number)
    }
}
