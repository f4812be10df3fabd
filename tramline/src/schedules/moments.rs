//! For which moments something is sent: pure.

use super::recurring::{CatchUp, Recurring, Rhythm};
use std::time::Duration;
use tramline_core::clock::Timestamp;

/// How many moments are caught up with in one transaction.
const TOGETHER_MAX: usize = 100;
/// What is late by no more is in time.
const IN_TIME: Duration = Duration::from_secs(60);
/// When what never comes again is due.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX / 2);

/// What is to be done about something that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    /// The moments that a message is sent for.
    pub(super) sent: Vec<Timestamp>,
    /// When it is due next. Maybe at once, where there was much to catch up with.
    pub(super) next: Timestamp,
}

impl Recurring {
    /// The first moment, if it is declared at `now`.
    pub(super) fn first(&self, now: Timestamp) -> Timestamp {
        self.rhythm.after(now).unwrap_or(NEVER)
    }

    /// What is to be done at `now` about the moments from `due` on, of which that one at least has come, and was left
    /// to others for as long as `waited`.
    pub(super) fn ticks(
        &self,
        due: Timestamp,
        now: Timestamp,
        waited: Duration,
        is_paused: bool,
    ) -> Ticks {
        let latest = |now| self.rhythm.latest(due, now);
        if is_paused {
            return Ticks { sent: Vec::new(), next: self.first(latest(now)) };
        }
        // Less is no downtime: a store that was slow, or a process that took over.
        let in_time = IN_TIME.saturating_add(waited);
        let was_down = now.since(due) > in_time;
        let from = match self.catch_up {
            CatchUp::Once if was_down => latest(now),
            CatchUp::None if was_down => self.first(latest(now.before(in_time))),
            _ => due,
        };
        let sent: Vec<_> = self.rhythm.passed(from, now).take(TOGETHER_MAX).collect();
        let next = sent.last().map_or(from, |last| self.first(*last));
        Ticks { sent, next }
    }
}

impl Rhythm {
    /// The moments from `due` to `now`.
    fn passed(&self, due: Timestamp, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(Some(due), |moment| self.after(*moment))
            .take_while(move |moment| *moment <= now)
    }

    /// The last of them.
    fn latest(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        #[cfg_attr(
            not(feature = "cron"),
            expect(irrefutable_let_patterns, reason = "there is no other")
        )]
        if let Self::Every(interval) = self {
            let passed = now.since(due).as_micros() / interval.as_micros().max(1);
            let micros = passed.saturating_mul(interval.as_micros());
            return due.after(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)));
        }
        // Not all of them are walked through, after a long time.
        const DAY: u64 = 24 * 3600;
        const BACK_SECS: [u64; 5] = [60, 3600, DAY, 32 * DAY, 366 * DAY];
        let near = BACK_SECS.into_iter().find_map(|secs| {
            let moment = self.after(now.before(Duration::from_secs(secs)))?;
            (moment <= now && moment > due).then_some(moment)
        });
        self.passed(near.unwrap_or(due), now).last().unwrap_or(due)
    }
}
