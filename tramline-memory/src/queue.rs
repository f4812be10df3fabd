//! The rows of one queue. Pure: time comes in, wake-ups go out, and nothing waits here.

use crate::bell::{Bell, Ring, Rings};
use crate::memory::Handle;
use crate::row::Row;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::topology::QueueSpec;

/// One queue, or the dead letters of one: a table of rows with an index for each way in which a
/// row can wait. A row is in at most one index; a leased row is in none.
///
/// Row ids grow, so among equals the order of ids is the order of arrival. A row keeps its id, and
/// with it its place, for as long as it is in the queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) bell: Arc<Bell>,
    priority_max: u8,
    delivery_limit: Option<u32>,
    rows: BTreeMap<i64, (Row, Place)>,
    ready: BTreeSet<(Reverse<u8>, i64)>,
    delayed: BTreeSet<(Timestamp, i64)>,
}

/// What a row waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To be taken.
    Ready,
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

impl Queue {
    pub(crate) fn new(spec: &QueueSpec) -> Self {
        Self {
            priority_max: spec.priority_max.unwrap_or(0),
            delivery_limit: spec.delivery_limit,
            ..Self::default()
        }
    }

    /// Puts a row in, to be taken at once or when it is due.
    pub(crate) fn put(&mut self, id: i64, row: Row, due: Option<Timestamp>, rings: &mut Rings) {
        let place = match due {
            None => self.make_ready(id, &row, rings),
            Some(due) => self.delay(id, due, rings),
        };
        self.rows.insert(id, (row, place));
    }

    /// Makes everything that is due by `now` ready. Without delayed rows the time is not asked.
    pub(crate) fn promote(&mut self, now: impl FnOnce() -> Timestamp) {
        if self.delayed.is_empty() {
            return;
        }
        let later = self.delayed.split_off(&(now(), i64::MAX));
        for (due, id) in std::mem::replace(&mut self.delayed, later) {
            // Whoever waits has set a timer for this moment, so nobody needs to be woken.
            if let Some((row, place)) = self.rows.get_mut(&id) {
                (row.since, *place) = (due, Place::Ready);
                self.ready.insert((Reverse(rank(row, self.priority_max)), id));
            }
        }
    }

    /// Leases the first ready row to `holder`. A row that was handed out as often as the queue
    /// allows is answered as a [`Next::Spent`] one and stays where it is.
    pub(crate) fn take(&mut self, holder: Holder) -> Next<'_> {
        let Some(&(_, id)) = self.ready.first() else {
            return Next::Nothing { due: self.delayed.first().map(|(due, _)| *due) };
        };
        let (row, place) = self.rows.get_mut(&id).expect("an index names rows of the table");
        if self.delivery_limit.is_some_and(|limit| row.deliveries >= limit) {
            return Next::Spent(id);
        }
        self.ready.pop_first();
        row.deliveries += 1;
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

    /// Takes the row out, if it is leased under `token`.
    pub(crate) fn remove_leased(&mut self, id: i64, token: i64) -> Option<Row> {
        self.leased(id, token)?;
        self.remove(id)
    }

    /// Takes a row out, wherever it waits.
    pub(crate) fn remove(&mut self, id: i64) -> Option<Row> {
        let (row, place) = self.rows.remove(&id)?;
        match place {
            Place::Ready => self.ready.remove(&(Reverse(rank(&row, self.priority_max)), id)),
            Place::Delayed(due) => self.delayed.remove(&(due, id)),
            Place::Leased(_) => false,
        };
        Some(row)
    }

    /// Ends the leases of `whom`; the rows are ready again, in their places. Answers how many.
    pub(crate) fn evict(&mut self, whom: impl Fn(Handle) -> bool, rings: &mut Rings) -> usize {
        let is_evicted =
            |place: &Place| matches!(place, Place::Leased(holder) if whom(holder.handle));
        let evicted = self.rows.iter().filter(|(_, (_, place))| is_evicted(place));
        let ids: Vec<i64> = evicted.map(|(id, _)| *id).collect();
        for &id in &ids {
            if let Some((row, _)) = self.rows.remove(&id) {
                self.put(id, row, None, rings);
            }
        }
        if !ids.is_empty() {
            self.bell.count_eviction();
            rings.add(&self.bell, Ring::Evicted);
        }
        ids.len()
    }

    /// Removes what is ready. Answers how many.
    pub(crate) fn purge(&mut self) -> usize {
        let ready = std::mem::take(&mut self.ready);
        ready.iter().for_each(|(_, id)| drop(self.rows.remove(id)));
        ready.len()
    }

    /// All rows behind `after`, in the order of their ids.
    pub(crate) fn rows(&self, after: Option<i64>) -> impl Iterator<Item = (i64, &Row, Place)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((from, Bound::Unbounded));
        rows.map(|(id, (row, place))| (*id, row, *place))
    }

    /// Rows that are ready, leased and delayed.
    pub(crate) fn counts(&self) -> [usize; 3] {
        let (ready, delayed) = (self.ready.len(), self.delayed.len());
        [ready, self.rows.len() - ready - delayed, delayed]
    }

    fn make_ready(&mut self, id: i64, row: &Row, rings: &mut Rings) -> Place {
        self.ready.insert((Reverse(rank(row, self.priority_max)), id));
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
    /// This row has used up its deliveries.
    Spent(i64),
    /// Nothing until then, unless something arrives.
    Nothing { due: Option<Timestamp> },
}

/// A queue without priorities has one rank for all.
fn rank(row: &Row, priority_max: u8) -> u8 {
    row.envelope.priority.unwrap_or(0).min(priority_max)
}
