//! Dead letters go back to their queue as new messages under their old ids, and queues are emptied: a
//! step at a time.

use super::look::looking_at;
use super::peek::{is_dead, peeked};
use crate::postgres::Postgres;
use tramline_core::Result;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Chosen, Pace, Redrive};

/// How many messages are looked at in one step, and moved in one transaction.
const STEP: u32 = 1000;
/// Fewer when their bodies have to be read: a step must fit into memory.
const STEP_WITH_BODIES: u32 = 50;

/// What one step found.
struct Step {
    chosen: Vec<i64>,
    /// The last that was looked at; `None` at the end.
    last: Option<i64>,
}

impl Postgres {
    /// Looks at the dead letters and then moves what is chosen. What dies again meanwhile came later
    /// than the last one and is left alone. Dropped, it stops between two steps, or after one more.
    pub(super) async fn redrive_in_steps(&self, queue: &QueueName, what: Redrive) -> Result<u64> {
        const SQL: &str = "SELECT tramline.redrive($1, $2, $3)";
        let pace = Pace::new(queue, what.rate, STEP)?;
        let chosen = Chosen::new(queue, what.selection)?;
        let clock = &self.core.settings.clock;
        let id = self.queue_id(queue).await?;
        let end = self.newest_number().await?;
        let (mut next, mut after, mut count) = (clock.now(), i64::MIN, 0);
        loop {
            let step = self.look_at_step(queue, id, after, end, &chosen).await?;
            if what.dry_run {
                count += step.chosen.len() as u64;
            } else {
                for places in step.chosen.chunks(pace.at_once) {
                    clock.sleep_until(next).await;
                    next = clock.now().after(pace.pause);
                    let doing = format!("redrive dead letters of queue {queue}");
                    let now = self.core.now();
                    let row = self.look_at_one(doing, SQL, &[&id, &places, &now]).await?;
                    count += row.get::<_, i64>(0).unsigned_abs();
                    self.core.woken_by_commit([id]);
                }
            }
            match step.last {
                Some(last) => after = last,
                None => return Ok(count),
            }
        }
    }

    async fn look_at_step(
        &self,
        queue: &QueueName,
        id: i32,
        after: i64,
        end: i64,
        chosen: &Chosen,
    ) -> Result<Step> {
        const PLACES: &str = "SELECT place FROM tramline.dead
             WHERE queue = $1 AND place > $2 AND tramline.number_of(place) <= $3
                 AND NOT place IN (SELECT unnest(tramline.held($1, true)))
             ORDER BY place LIMIT $4";
        const WITH_BODIES: &str =
            "SELECT place, flags, failures, history, first_failed_at, envelope,
                 body, NULL::bigint AS due, reason, failed_at FROM tramline.dead
             WHERE queue = $1 AND place > $2 AND tramline.number_of(place) <= $3
                 AND NOT place IN (SELECT unnest(tramline.held($1, true)))
             ORDER BY place LIMIT $4";
        if let Chosen::All = chosen {
            let params = [&id as _, &after as _, &end as _, &i64::from(STEP) as _];
            let rows = self.look(looking_at(queue), PLACES, &params).await?;
            let chosen: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            return Ok(Step { last: chosen.last().copied(), chosen });
        }
        let params = [&id as _, &after as _, &end as _, &i64::from(STEP_WITH_BODIES) as _];
        let rows = self.look(looking_at(queue), WITH_BODIES, &params).await?;
        let looked = || rows.iter().map(peeked);
        Ok(Step {
            last: rows.last().map(|row| row.get("place")),
            chosen: looked().filter(|dead| chosen.holds(dead)).map(|dead| dead.position).collect(),
        })
    }

    /// What comes while it is at work is not meant and stays.
    pub(super) async fn purge_in_steps(&self, queue: &QueueRef) -> Result<u64> {
        const MAIN: &str = "SELECT tramline.purge($1, $2, $3, $4)";
        const DEAD: &str = "SELECT tramline.purge_dead($1, $2, $3)";
        let id = self.queue_id(queue.name()).await?;
        let last = self.newest_number().await?;
        let mut purged = 0;
        loop {
            let (most, now) = (STEP as i32, self.core.now());
            let doing = format!("purge queue {queue}");
            let row = if is_dead(queue) {
                self.look_at_one(doing, DEAD, &[&id, &last, &most]).await?
            } else {
                self.look_at_one(doing, MAIN, &[&id, &last, &most, &now]).await?
            };
            let gone = row.get::<_, i64>(0).unsigned_abs();
            purged += gone;
            if gone == 0 {
                // Delayed messages have become ready, and some may have come meanwhile.
                self.core.woken_by_commit([id]);
                return Ok(purged);
            }
        }
    }

    /// The number that was given last.
    async fn newest_number(&self) -> Result<i64> {
        const SQL: &str = "SELECT last_value FROM tramline.number";
        Ok(self.look_at_one("look at the order of messages", SQL, &[]).await?.get(0))
    }
}
