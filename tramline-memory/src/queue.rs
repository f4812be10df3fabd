//! The rows of one queue. Pure: time comes in, wake-ups go out, and nothing waits here.

use crate::bell::{Bell, Ring, Rings};
use crate::kept::Kept;
use crate::keys::Keys;
use crate::memory::Handle;
use crate::ready::Ready;
use crate::row::Row;
use crate::unique::Held;
use crate::window::Window;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::Timestamp;
use tramline_core::dead::Reason;
use tramline_core::name::QueueName;
use tramline_core::topology::QueueSpec;
use tramline_core::{Error, ErrorKind, Result};

/// More than those at work can take before a sender has its next turn.
const CROWD: usize = 256;

/// How many old dead letters go at once, so that nobody has to wait for all of them.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// One queue, or the dead letters of one: a table of rows with an index for each way in which a
/// row can wait. A row is in at most one index; a leased row is in none.
///
/// Row ids grow, so among equals the order of ids is the order of arrival. A row keeps its id, and
/// with it its place, for as long as it is in the queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) bell: Arc<Bell>,
    /// How much it may hold, and the name for whoever is told that it does.
    pub(crate) length_max: Option<(u64, QueueName)>,
    /// What was sent before, if it drops that.
    pub(crate) window: Option<Window>,
    /// Whose keys are held, if it has one message of a key at a time.
    pub(crate) unique: Option<Held>,
    /// What was handled, if it keeps that.
    pub(crate) kept: Option<Kept>,
    priority_max: u8,
    delivery_limit: Option<u32>,
    /// Whether it looks at expiry: dead letters do not expire.
    expires: bool,
    /// For how long dead letters stay.
    keep_dead: Option<Duration>,
    rows: BTreeMap<i64, (Row, Place)>,
    ready: Ready,
    delayed: BTreeSet<(Timestamp, i64)>,
    keys: Keys,
}

/// What a row waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To be taken.
    Ready,
    /// For those before it of its key.
    Behind,
    /// For its time.
    Delayed(Timestamp),
    /// For the settlement of the delivery with this token.
    Leased(Holder),
}

/// Who holds a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) token: i64,
    pub(crate) handle: Handle,
}

/// How leases end from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// Their process lives and gives its messages back.
    GivenBack,
    /// Nobody heard how their deliveries ended.
    Unheard,
}

/// What a queue does beside what was asked of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// It lets one message of a key out at a time.
    pub(crate) locks_keys: bool,
    /// It dead-letters what has expired.
    pub(crate) expires: bool,
}

impl Queue {
    pub(crate) fn new(spec: &QueueSpec, manner: Manner) -> Self {
        let ordering = if manner.locks_keys { spec.ordering } else { Ordering::None };
        Self {
            length_max: spec.length_max.map(|max| (max, spec.name.clone())),
            window: spec.dedup_window.map(Window::new),
            unique: spec.unique.then(Held::default),
            kept: spec.keep_completed.map(Kept::new),
            priority_max: spec.priority_max.unwrap_or(0),
            delivery_limit: spec.delivery_limit,
            expires: manner.expires,
            keys: Keys::new(ordering),
            ..Self::default()
        }
    }

    /// The dead letters of a queue: they keep to no order, limit or expiry.
    pub(crate) fn of_dead_letters(spec: &QueueSpec) -> Self {
        Self { keep_dead: spec.keep_dead, ..Self::default() }
    }

    /// Whether there is room for one more than `added`, once `leaving` of its rows are gone.
    ///
    /// # Errors
    /// [`ErrorKind::Full`], with the name of the queue.
    pub(crate) fn check_room(&self, added: usize, leaving: usize) -> Result<()> {
        let held = (self.rows.len() + added).saturating_sub(leaving) as u64;
        match &self.length_max {
            Some((max, name)) if held >= *max => {
                let doing = format!("put a message into queue {name}");
                let why = format!("it holds {held} messages and may hold {max}");
                Err(Error::new(ErrorKind::Full, doing).because(why))
            }
            _ => Ok(()),
        }
    }

    /// Whether more wait than those will take soon who are at work on it.
    pub(crate) fn is_crowded(&self) -> bool {
        let [ready, leased, _] = self.counts();
        ready > CROWD && leased > 0
    }

    /// Puts a row in behind all others of its key, to be taken at once or when it is due.
    pub(crate) fn put(&mut self, id: i64, row: Row, due: Option<Timestamp>, rings: &mut Rings) {
        if let Some(held) = &mut self.unique {
            held.hold(&row);
        }
        // What was due before it stands before it, whether or not anybody has taken anything since.
        if due.is_none() && self.keys.keep(&row) {
            self.promote(row.since);
        }
        let place = match due {
            Some(due) => self.delay(id, due, rings),
            None if self.keys.join(id, &row) => self.make_ready(id, &row, rings),
            None => Place::Behind,
        };
        self.rows.insert(id, (row, place));
    }

    /// Makes everything that is due by `now` ready, and forgets old dead letters. Where there is
    /// neither, the time is not asked.
    pub(crate) fn refresh(&mut self, now: impl Fn() -> Timestamp) {
        if !self.delayed.is_empty() {
            self.promote(now());
        }
        if let Some(keep) = self.keep_dead {
            self.forget_dead(keep, now());
        }
    }

    /// Leases the first ready row to `holder`. A row that must not be handed out any more is
    /// answered as a [`Next::Over`] one and stays where it is.
    pub(crate) fn take(&mut self, holder: Holder, now: impl Fn() -> Timestamp) -> Next<'_> {
        let Some(id) = self.ready.first() else {
            return Next::Nothing { due: self.delayed.first().map(|(due, _)| *due) };
        };
        let (row, place) = self.rows.get_mut(&id).expect("an index names rows of the table");
        if self.expires && row.envelope.expires_at.is_some_and(|at| at <= now()) {
            return Next::Over(id, Reason::Expired);
        }
        if self.delivery_limit.is_some_and(|limit| row.handed_out >= limit) {
            return Next::Over(id, Reason::Other("delivery limit".to_owned()));
        }
        self.ready.pop_first();
        row.hand_out();
        *place = Place::Leased(holder);
        Next::Row(id, row)
    }

    /// The row, if it is leased under `token`.
    pub(crate) fn leased(&mut self, id: i64, token: i64) -> Option<&mut Row> {
        match self.rows.get_mut(&id) {
            Some((row, Place::Leased(holder))) if holder.token == token => Some(row),
            _ => None,
        }
    }

    /// The key of a row.
    pub(crate) fn key_of(&self, id: i64) -> Option<&str> {
        self.rows.get(&id)?.0.envelope.key.as_deref()
    }

    /// Puts a leased row into the place that it had, with its key still its own.
    pub(crate) fn put_back(&mut self, id: i64, due: Option<Timestamp>, rings: &mut Rings) {
        let Some((row, _)) = self.rows.remove(&id) else { return };
        let place = match due {
            Some(due) => self.delay(id, due, rings),
            None => self.make_ready(id, &row, rings),
        };
        self.rows.insert(id, (row, place));
    }

    /// Takes a handled row out, and keeps it where that was asked for.
    pub(crate) fn complete(&mut self, id: i64, now: impl Fn() -> Timestamp, rings: &mut Rings) {
        let row = self.remove(id, rings);
        if let (Some(kept), Some(row)) = (&mut self.kept, row) {
            kept.add(&row, now());
        }
    }

    /// Takes a row out that nobody has taken.
    pub(crate) fn remove_free(&mut self, id: i64, rings: &mut Rings) -> Option<Row> {
        match self.rows.get(&id)? {
            (_, Place::Leased(_)) => None,
            _ => self.remove(id, rings),
        }
    }

    /// Takes a row out, wherever it waits. Its key goes on.
    pub(crate) fn remove(&mut self, id: i64, rings: &mut Rings) -> Option<Row> {
        let (row, place) = self.rows.remove(&id)?;
        if let Some(held) = &mut self.unique {
            held.free(&row);
        }
        match place {
            Place::Ready => self.ready.remove(rank(&row, self.priority_max), id),
            Place::Delayed(due) => self.delayed.remove(&(due, id)),
            Place::Behind | Place::Leased(_) => false,
        };
        if let Some(next) = self.keys.leave(id, &row) {
            self.put_back(next, None, rings);
        }
        Some(row)
    }

    /// Ends the leases of `whom`; the rows are ready again, in their places. Answers how many.
    pub(crate) fn evict(
        &mut self,
        whom: impl Fn(Handle) -> bool,
        how: Eviction,
        rings: &mut Rings,
    ) -> usize {
        let mut evicted = Vec::new();
        for (id, (row, place)) in &mut self.rows {
            if matches!(place, Place::Leased(holder) if whom(holder.handle)) {
                if how == Eviction::GivenBack {
                    row.give_back();
                }
                evicted.push(*id);
            }
        }
        evicted.iter().for_each(|id| self.put_back(*id, None, rings));
        if !evicted.is_empty() {
            self.bell.count_eviction();
            rings.add(&self.bell, Ring::Evicted);
        }
        evicted.len()
    }

    /// Removes what is ready, and what would be once those before it of its key are done. Answers
    /// how many.
    pub(crate) fn purge(&mut self) -> usize {
        let behind = self.keys.take_behind();
        let ready: Vec<i64> = std::mem::take(&mut self.ready).into_iter().collect();
        let purged = ready.len() + behind.len();
        for id in behind.into_iter().chain(ready) {
            let Some((row, _)) = self.rows.remove(&id) else { continue };
            self.keys.leave(id, &row);
            if let Some(held) = &mut self.unique {
                held.free(&row);
            }
        }
        purged
    }

    /// All rows behind `after`, in the order of their ids.
    pub(crate) fn rows(&self, after: Option<i64>) -> impl Iterator<Item = (i64, &Row, Place)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((from, Bound::Unbounded));
        rows.map(|(id, (row, place))| (*id, row, *place))
    }

    /// Rows that are ready, alone or behind others of their key, leased and delayed.
    pub(crate) fn counts(&self) -> [usize; 3] {
        let (ready, delayed) = (self.ready.len() + self.keys.behind(), self.delayed.len());
        [ready, self.rows.len() - ready - delayed, delayed]
    }

    /// What was put in for later lines up like what comes now.
    fn promote(&mut self, now: Timestamp) {
        let later = self.delayed.split_off(&(now, i64::MAX));
        for (due, id) in std::mem::replace(&mut self.delayed, later) {
            // Whoever waits has set a timer for this moment, so nobody needs to be woken.
            if let Some((row, place)) = self.rows.get_mut(&id) {
                row.since = due;
                *place = Place::Behind;
                if self.keys.join(id, row) {
                    *place = Place::Ready;
                    self.ready.insert(rank(row, self.priority_max), id);
                }
            }
        }
    }

    /// What somebody has taken stays until it is back.
    fn forget_dead(&mut self, keep: Duration, now: Timestamp) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(id) = self.ready.first() else { return };
            if self.rows.get(&id).is_none_or(|(row, _)| row.died_at().after(keep) > now) {
                return;
            }
            self.ready.pop_first();
            self.rows.remove(&id);
        }
    }

    fn make_ready(&mut self, id: i64, row: &Row, rings: &mut Rings) -> Place {
        self.ready.insert(rank(row, self.priority_max), id);
        rings.add(&self.bell, Ring::Ready(1));
        Place::Ready
    }

    fn delay(&mut self, id: i64, due: Timestamp, rings: &mut Rings) -> Place {
        if self.delayed.first().is_none_or(|(first, _)| due < *first) {
            rings.add(&self.bell, Ring::EarlierDue);
        }
        self.delayed.insert((due, id));
        Place::Delayed(due)
    }
}

/// What a queue has for a receiver.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// A row, now leased.
    Row(i64, &'a Row),
    /// A row that is to be a dead letter, and why.
    Over(i64, Reason),
    /// Nothing until then, unless something arrives.
    Nothing { due: Option<Timestamp> },
}

/// A queue without priorities has one rank for all.
fn rank(row: &Row, priority_max: u8) -> u8 {
    row.envelope.priority.unwrap_or(0).min(priority_max)
}
