//! What is scheduled, for operators.

use crate::bus::Bus;
use std::fmt;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::store::{self, Change, Plan, Planned, Waiting};

/// What is scheduled and what recurs: `bus.schedules()` answers it.
pub struct Schedules<'a> {
    bus: &'a Bus,
    keeper: &'a dyn store::Schedules,
}

/// Something that recurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecurringSchedule {
    /// Its name.
    pub name: String,
    /// How it recurs, such as `every 60s` or `cron 0 3 * * * in Europe/Berlin`.
    pub rhythm: String,
    /// Its next moment. While it is paused it goes on, and nothing is sent.
    pub next: Timestamp,
    /// It sends nothing.
    pub is_paused: bool,
}

impl<'a> Schedules<'a> {
    pub(super) fn of(bus: &'a Bus, keeper: &'a dyn store::Schedules) -> Self {
        Self { bus, keeper }
    }

    /// Up to `limit` named schedules that wait, behind the name `after`, in the order of their names as bytes.
    ///
    /// # Errors
    /// The store failed.
    pub async fn named(&self, after: Option<&str>, limit: u32) -> Result<Vec<Waiting>> {
        self.heard(self.keeper.waiting(after, limit).await)
    }

    /// Everything that recurs, by name: also what only other services on the store declare.
    ///
    /// # Errors
    /// The store failed.
    pub async fn recurring(&self) -> Result<Vec<RecurringSchedule>> {
        let now = self.bus.scope().composer.clock.now();
        let look = self.heard(self.keeper.look(0, now).await)?;
        let rows = look.recurring.into_iter().map(|row| RecurringSchedule {
            name: row.name,
            rhythm: row.rhythm.to_string(),
            next: row.due,
            is_paused: row.is_paused,
        });
        Ok(rows.collect())
    }

    /// From now on nothing is sent for what recurs under `name`, until it is resumed; restarts do not change that.
    /// Answers whether there is any.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pause(&self, name: &str) -> Result<bool> {
        self.set_paused(name, true).await
    }

    /// It sends again, from its next moment on; moments that passed while it was paused and no instance ran are caught
    /// up with as after downtime. Answers whether anything recurs under `name`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume(&self, name: &str) -> Result<bool> {
        self.set_paused(name, false).await
    }

    async fn set_paused(&self, name: &str, is_paused: bool) -> Result<bool> {
        let now = self.bus.scope().composer.clock.now();
        let plan = Plan { name: name.to_owned(), now, change: Change::Pause(is_paused) };
        Ok(self.bus.plans(vec![plan]).await?.contains(&Planned::Done))
    }

    fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        self.bus.inner().stopping.heard(answer)
    }
}

impl fmt::Debug for Schedules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}
