//! The calls that end a unit of work: conditions and messages together, and what changes schedules.

use super::conditions::{Acks, Asked, Sightings};
use super::messages::Outward;
use super::schedules::Changes;
use crate::send::Columns;
use sqlx::Row;
use sqlx::postgres::PgConnection;

/// What a unit of work comes down to.
pub(super) struct Call<'a> {
    pub(super) now: Option<i64>,
    pub(super) asked: &'a Asked<'a>,
    /// The version of the routes by which messages go to queues, if any do.
    pub(super) topology: Option<i64>,
    pub(super) rows: &'a Columns<'a>,
    pub(super) outward: &'a Outward<'a>,
}

/// What the server says to it. Unless all of it is good, it has to be rolled back.
pub(super) struct Answer {
    pub(super) lost: Vec<i32>,
    pub(super) known: Vec<i32>,
    /// The routes are old, and nothing was done.
    pub(super) is_stale: bool,
}

/// Inside the transaction of a handler, which the caller ends.
const CONCLUDE: &str = "SELECT lost, known, is_stale FROM tramline.conclude(false, $1, $2, $3,
    $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)";

impl Call<'_> {
    pub(super) async fn run(&self, connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
        let Acks { queues, places, epochs } = &self.asked.acks;
        let Sightings { endpoints, messages, keys, ids, hashes, keyed } = &self.asked.sightings;
        let (rows, outward) = (self.rows, self.outward);
        let row = sqlx::query(CONCLUDE)
            .bind(self.now)
            .bind(&queues[..])
            .bind(&places[..])
            .bind(&epochs[..])
            .bind(&endpoints[..])
            .bind(&messages[..])
            .bind(&keys[..])
            .bind(&ids[..])
            .bind(&hashes[..])
            .bind(&keyed[..])
            .bind(self.topology)
            .bind(&rows.queues[..])
            .bind(&rows.ranks[..])
            .bind(&rows.lanes[..])
            .bind(&rows.dues[..])
            .bind(&rows.expires[..])
            .bind(&rows.keys[..])
            .bind(&rows.envelopes[..])
            .bind(&rows.bodies[..])
            .bind(&outward.keys[..])
            .bind(&outward.dues[..])
            .bind(&outward.destinations[..])
            .bind(&outward.envelopes[..])
            .bind(&outward.bodies[..])
            .fetch_one(connection)
            .await?;
        Ok(Answer { lost: row.try_get(0)?, known: row.try_get(1)?, is_stale: row.try_get(2)? })
    }
}

/// What the server says to changes of schedules.
#[derive(Default)]
pub(super) struct Concluded {
    /// Those, counted from 1, for which something is not as it was: the unit has to be rolled back.
    pub(super) changed: Vec<i32>,
    /// Something is due earlier than all that was known.
    pub(super) wakes: bool,
}

impl Concluded {
    /// Asks nothing if there are none.
    pub(super) async fn of(
        changes: &Changes<'_>,
        connection: &mut PgConnection,
    ) -> Result<Self, sqlx::Error> {
        const CONCLUDE: &str = "SELECT changed, wakes
             FROM tramline.conclude_schedules(false, $1, $2, $3, $4, $5, $6, $7, $8, $9)";
        if changes.is_empty() {
            return Ok(Self::default());
        }
        let row = sqlx::query(CONCLUDE)
            .bind(&changes.kinds[..])
            .bind(&changes.names[..])
            .bind(&changes.tokens[..])
            .bind(&changes.moments[..])
            .bind(&changes.dues[..])
            .bind(&changes.texts[..])
            .bind(&changes.envelopes[..])
            .bind(&changes.bodies[..])
            .bind(&changes.flags[..])
            .fetch_one(connection)
            .await?;
        Ok(Self { changed: row.try_get(0)?, wakes: row.try_get(1)? })
    }
}
