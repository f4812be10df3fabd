//! Messages that wait for a relay.

use crate::memory::{Handle, Memory};
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::store::{Outbox, OutboxRow, OutboxToken, ParkedRow};
use tramline_core::transport::Outgoing;
use tramline_core::{BoxFuture, Result};

/// The rows, in the order in which they were appended.
#[derive(Debug, Default)]
pub(crate) struct OutboxRows {
    rows: BTreeMap<i64, Row>,
    rows_ever: i64,
    leases_ever: i64,
}

#[derive(Debug)]
struct Row {
    outgoing: Outgoing,
    attempts: u32,
    /// Why sending it failed last.
    error: String,
    place: Place,
}

/// What a row waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// To be claimed, from then on.
    Waiting(Timestamp),
    /// For its claimer, until then.
    Claimed { lease: i64, handle: Handle, until: Timestamp },
    /// For an operator.
    Parked,
}

/// Past on any clock: who appends is not asked for the time.
const AT_ONCE: Timestamp = Timestamp::from_micros(i64::MIN);

impl Place {
    /// When the row can be claimed. A parked one never.
    fn due(self) -> Option<Timestamp> {
        match self {
            Self::Waiting(due) | Self::Claimed { until: due, .. } => Some(due),
            Self::Parked => None,
        }
    }

    fn lease(self) -> Option<i64> {
        match self {
            Self::Claimed { lease, .. } => Some(lease),
            Self::Waiting(_) | Self::Parked => None,
        }
    }
}

impl OutboxRows {
    pub(crate) fn append(&mut self, outgoing: Outgoing) {
        self.rows_ever += 1;
        let row =
            Row { outgoing, attempts: 0, error: String::new(), place: Place::Waiting(AT_ONCE) };
        self.rows.insert(self.rows_ever, row);
    }

    /// Ends the leases of a handle; nothing is charged.
    pub(crate) fn evict(&mut self, whom: Handle) {
        for row in self.rows.values_mut() {
            if matches!(row.place, Place::Claimed { handle, .. } if handle == whom) {
                row.place = Place::Waiting(AT_ONCE);
            }
        }
    }

    fn claim(
        &mut self,
        limit: u32,
        handle: Handle,
        lease: Duration,
        now: Timestamp,
    ) -> Vec<OutboxRow> {
        self.leases_ever += 1;
        let mut held_keys: HashSet<&str> = HashSet::new();
        let mut claimed = Vec::new();
        for (&id, row) in &mut self.rows {
            if claimed.len() >= limit as usize {
                break;
            }
            let key = row.outgoing.envelope.key.as_deref();
            let is_behind = key.is_some_and(|key| held_keys.contains(key));
            // A parked row waits in front of its key: what was published behind it stays behind it.
            if is_behind || row.place.due().is_none_or(|due| due > now) {
                held_keys.extend(key);
                continue;
            }
            let until = now.after(lease);
            row.place = Place::Claimed { lease: self.leases_ever, handle, until };
            claimed.push(OutboxRow {
                token: OutboxToken { row: id, lease: self.leases_ever },
                outgoing: row.outgoing.clone(),
                attempts: row.attempts,
            });
        }
        claimed
    }

    /// The row, if it is still claimed under this lease.
    fn claimed(&mut self, token: OutboxToken) -> Option<&mut Row> {
        self.rows.get_mut(&token.row).filter(|row| row.place.lease() == Some(token.lease))
    }

    fn sent(&mut self, tokens: &[OutboxToken]) {
        for token in tokens {
            if self.claimed(*token).is_some() {
                self.rows.remove(&token.row);
            }
        }
    }

    fn fail(&mut self, token: OutboxToken, place: Place, error: &str) {
        if let Some(row) = self.claimed(token) {
            row.attempts += 1;
            row.place = place;
            error.clone_into(&mut row.error);
        }
    }

    fn give_back(&mut self, tokens: &[OutboxToken], until: Timestamp) {
        for token in tokens {
            if let Some(row) = self.claimed(*token) {
                row.place = Place::Waiting(until);
            }
        }
    }

    fn parked(&self, after: Option<i64>, limit: u32) -> Vec<ParkedRow> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((from, Bound::Unbounded));
        let parked = rows.filter(|(_, row)| row.place == Place::Parked);
        let shown = parked.map(|(&id, row)| ParkedRow {
            row: id,
            outgoing: Some(row.outgoing.clone()),
            attempts: row.attempts,
            error: row.error.clone(),
        });
        shown.take(limit as usize).collect()
    }

    fn discard(&mut self, ids: &[i64]) -> u64 {
        let is_parked = |row: &Row| row.place == Place::Parked;
        let discarded = ids.iter().filter(|id| {
            self.rows.get(id).is_some_and(is_parked) && self.rows.remove(id).is_some()
        });
        discarded.count() as u64
    }

    fn release(&mut self) -> u64 {
        let parked = self.rows.values_mut().filter(|row| row.place == Place::Parked);
        let released = parked.map(|row| {
            row.attempts = 0;
            row.place = Place::Waiting(AT_ONCE);
        });
        released.count() as u64
    }

    fn depth(&self) -> (u64, u64) {
        let parked = self.rows.values().filter(|row| row.place == Place::Parked).count() as u64;
        (self.rows.len() as u64 - parked, parked)
    }

    /// Rows behind another of their key do not count: they are not due before it, and behind a
    /// parked one not at all.
    fn next_due(&self) -> Option<Timestamp> {
        let mut keys_ahead: HashSet<&str> = HashSet::new();
        let first_of_key = self.rows.values().filter(|row| {
            let key = row.outgoing.envelope.key.as_deref();
            key.is_none_or(|key| keys_ahead.insert(key))
        });
        first_of_key.filter_map(|row| row.place.due()).min()
    }
}

/// What lets rows go that others waited behind is announced by `appended`, so that a relay looks at
/// once.
impl Outbox for Memory {
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>>> {
        self.later(move |outbox| outbox.claim(limit, self.handle, lease, now))
    }

    fn sent<'a>(&'a self, rows: &'a [OutboxToken]) -> BoxFuture<'a, Result<()>> {
        self.later(|outbox| outbox.sent(rows))
    }

    fn postpone<'a>(
        &'a self,
        row: OutboxToken,
        until: Timestamp,
        error: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        self.later(move |outbox| outbox.fail(row, Place::Waiting(until), error))
    }

    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>> {
        self.later(move |outbox| outbox.fail(row, Place::Parked, error))
    }

    fn release(&self) -> BoxFuture<'_, Result<u64>> {
        self.letting_go(OutboxRows::release)
    }

    fn give_back<'a>(
        &'a self,
        rows: &'a [OutboxToken],
        until: Timestamp,
    ) -> BoxFuture<'a, Result<()>> {
        self.later(move |outbox| outbox.give_back(rows, until))
    }

    fn parked(&self, after: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>> {
        self.later(move |outbox| outbox.parked(after, limit))
    }

    fn discard<'a>(&'a self, rows: &'a [i64]) -> BoxFuture<'a, Result<u64>> {
        self.letting_go(|outbox| outbox.discard(rows))
    }

    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>> {
        self.later(|outbox| outbox.depth())
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.later(|outbox| outbox.next_due())
    }

    fn appended(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.appended.notified())
    }
}

impl Memory {
    /// Works on the rows once the future is polled; dropped before, it has done nothing.
    fn later<'a, T: 'a>(
        &'a self,
        work: impl FnOnce(&mut OutboxRows) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move { Ok(self.shared.change(|state| work(&mut state.outbox))) })
    }

    /// The same for work that lets so many rows go.
    fn letting_go<'a>(
        &'a self,
        work: impl FnOnce(&mut OutboxRows) -> u64 + Send + 'a,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            Ok(self.shared.change(|state| {
                let gone = work(&mut state.outbox);
                state.rings.appended |= gone > 0;
                gone
            }))
        })
    }
}
