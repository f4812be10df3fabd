//! Schedules, and what recurs.

use crate::memory::Memory;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::store::{
    Change, DueSchedule, Look, NAME_KEPT, Plan, Planned, RecurringRow, ScheduleKey, ScheduleState,
    Schedules, Waiting,
};
use tramline_core::transport::Outgoing;
use tramline_core::{BoxFuture, Result};

/// The rows, by name.
#[derive(Debug, Default)]
pub(crate) struct ScheduleRows {
    rows: BTreeMap<String, Row>,
    /// When each waiting row is looked at.
    waiting: BTreeSet<(Timestamp, String)>,
    /// Until when each of the others is remembered.
    remembered: BTreeSet<(Timestamp, String)>,
    recurring: BTreeMap<String, RecurringRow>,
}

#[derive(Debug)]
struct Row {
    token: i64,
    state: ScheduleState,
    due: Timestamp,
    /// When it is looked at, or until when it is remembered.
    at: Timestamp,
    outgoing: Option<Outgoing>,
}

impl ScheduleRows {
    pub(crate) fn plan(&mut self, plan: Plan) -> Planned {
        let Plan { name, now, change } = plan;
        match change {
            Change::Put { token, due, outgoing, anew } => {
                if !anew && self.is_cancelled(&name, now) {
                    return Planned::AlreadyCancelled;
                }
                let outgoing = Some(outgoing);
                self.set(name, Row { token, state: ScheduleState::Waits, due, at: due, outgoing });
                Planned::Done
            }
            Change::Cancel => self.cancel(name, now),
            Change::Recur { token, rhythm, due } => {
                self.recur(name, token, rhythm, due);
                Planned::Done
            }
            Change::Pause(is_paused) => match self.recurring.get_mut(&name) {
                Some(row) => {
                    row.is_paused = is_paused;
                    Planned::Done
                }
                None => Planned::NotFound,
            },
        }
    }

    /// What is known of a name.
    fn known(&self, name: &str, now: Timestamp) -> Option<&Row> {
        let row = self.rows.get(name)?;
        (row.state == ScheduleState::Waits || row.at > now).then_some(row)
    }

    fn is_cancelled(&self, name: &str, now: Timestamp) -> bool {
        self.known(name, now).is_some_and(|row| row.state.is_cancelled())
    }

    fn cancel(&mut self, name: String, now: Timestamp) -> Planned {
        let known = self.known(&name, now);
        let (planned, state) = ScheduleState::cancelled(known.map(|row| row.state));
        let (token, due) = known.map_or((0, now), |row| (row.token, row.due));
        self.set(name, Row { token, state, due, at: now.after(NAME_KEPT), outgoing: None });
        planned
    }

    fn recur(&mut self, name: String, token: i64, rhythm: String, due: Timestamp) {
        let row = self.recurring.entry(name).or_insert_with_key(|name| RecurringRow {
            name: name.clone(),
            token,
            rhythm: "".into(),
            due,
            is_paused: false,
        });
        if *row.rhythm != *rhythm {
            (row.rhythm, row.due) = (rhythm.into(), due);
        }
    }

    fn set(&mut self, name: String, row: Row) {
        if let Some(old) = self.rows.get(&name) {
            let (place, state) = ((old.at, name.clone()), old.state);
            self.order(state).remove(&place);
        }
        self.order(row.state).insert((row.at, name.clone()));
        self.rows.insert(name, row);
    }

    fn order(&mut self, state: ScheduleState) -> &mut BTreeSet<(Timestamp, String)> {
        if state == ScheduleState::Waits { &mut self.waiting } else { &mut self.remembered }
    }

    pub(crate) fn waits(&self, key: &ScheduleKey) -> bool {
        let row = self.rows.get(&key.name);
        row.is_some_and(|row| row.token == key.token && row.state == ScheduleState::Waits)
    }

    pub(crate) fn fire(&mut self, key: &ScheduleKey, now: Timestamp) {
        let Some(row) = self.rows.get(&key.name) else { return };
        let (at, state) = (now.after(NAME_KEPT), ScheduleState::Fired);
        let fired = Row { token: row.token, state, due: row.due, at, outgoing: None };
        self.set(key.name.clone(), fired);
    }

    pub(crate) fn recurs(&self, row: &RecurringRow) -> bool {
        self.recurring.get(&row.name) == Some(row)
    }

    pub(crate) fn advance(&mut self, row: &RecurringRow, next: Timestamp) {
        if let Some(row) = self.recurring.get_mut(&row.name) {
            row.due = next;
        }
    }

    fn look(&self, limit: u32, now: Timestamp) -> Look {
        let due = self.waiting.iter().take_while(|(at, _)| *at <= now).take(limit as usize);
        let due = due.filter_map(|(_, name)| {
            let row = self.rows.get(name)?;
            let key = ScheduleKey { name: name.clone(), token: row.token };
            Some(DueSchedule { key, due: row.due, outgoing: Ok(row.outgoing.clone()?) })
        });
        let behind = (now.after(Duration::from_micros(1)), String::new());
        Look {
            due: due.collect(),
            next: self.waiting.range(behind..).next().map(|(at, _)| *at),
            recurring: self.recurring.values().cloned().collect(),
        }
    }

    fn postpone(&mut self, key: &ScheduleKey, until: Timestamp) {
        let Some(row) = self.rows.get_mut(&key.name) else { return };
        if row.token == key.token && row.state == ScheduleState::Waits {
            self.waiting.remove(&(row.at, key.name.clone()));
            self.waiting.insert((until, key.name.clone()));
            row.at = until;
        }
    }

    fn named(&self, after: Option<&str>, limit: u32) -> Vec<Waiting> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range::<str, _>((from, Bound::Unbounded));
        let waiting = rows.filter(|(_, row)| row.state == ScheduleState::Waits);
        let waiting = waiting.map(|(name, row)| Waiting { name: name.clone(), due: row.due });
        waiting.take(limit as usize).collect()
    }

    fn prune(&mut self, now: Timestamp, limit: u32) -> u64 {
        let mut pruned = 0;
        while pruned < u64::from(limit)
            && let Some((at, _)) = self.remembered.first()
            && *at <= now
            && let Some((_, name)) = self.remembered.pop_first()
        {
            self.rows.remove(&name);
            pruned += 1;
        }
        pruned
    }
}

impl Schedules for Memory {
    fn plan(&self, plans: Vec<Plan>) -> BoxFuture<'_, Result<Vec<Planned>>> {
        Box::pin(async move {
            Ok(self.shared.change(|state| {
                state.rings.scheduled = true;
                plans.into_iter().map(|plan| state.schedules.plan(plan)).collect()
            }))
        })
    }

    fn look(&self, limit: u32, now: Timestamp) -> BoxFuture<'_, Result<Look>> {
        Box::pin(async move { Ok(self.shared.change(|state| state.schedules.look(limit, now))) })
    }

    fn postpone<'a>(&'a self, key: &'a ScheduleKey, until: Timestamp) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.shared.change(|state| state.schedules.postpone(key, until));
            Ok(())
        })
    }

    fn waiting<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Waiting>>> {
        Box::pin(async move { Ok(self.shared.change(|state| state.schedules.named(after, limit))) })
    }

    fn prune(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.shared.change(|state| state.schedules.prune(now, limit))) })
    }

    fn changes(&self) -> u64 {
        *self.shared.scheduled.borrow()
    }

    fn changed_since(&self, seen: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The sender is this memory's own: it is not gone while anybody waits.
            let _ = self.shared.scheduled.subscribe().wait_for(|changes| *changes != seen).await;
        })
    }
}
