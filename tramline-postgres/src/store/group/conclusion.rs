//! The calls that end one unit, or many at once.

use super::unit::Work;
use crate::open::Core;
use crate::queue::Legs;
use crate::send::Columns;
use crate::store::conditions::{Acks, Asked, Sightings};
use crate::store::messages::Outward;
use tokio_postgres::types::ToSql;
use tramline_core::Result;

/// Conditions and messages, in columns.
pub(super) struct Conclusion<'c> {
    now: Option<i64>,
    asked: Asked<'c>,
    topology: Option<i64>,
    rows: Columns<'c>,
    outward: Outward<'c>,
}

/// Raises what is not good, so that the commit behind it commits nothing.
pub(super) const CONCLUDE: &str =
    "SELECT FROM tramline.conclude(true, $1, $2, $3, $4, $5, $6, $7, $8,
    $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)";

/// Changes schedules, and raises as well. Answers a row if something is due earlier than all that was known.
pub(super) const SCHEDULE: &str = "SELECT
    FROM tramline.conclude_schedules(true, $1, $2, $3, $4, $5, $6, $7, $8, $9) AS s WHERE s.wakes";

impl<'c> Conclusion<'c> {
    /// Of these units, by the routes of this version.
    ///
    /// # Errors
    /// A ticket is of another database.
    pub(super) fn of(
        core: &Core,
        version: i64,
        units: impl Iterator<Item = (&'c Work, &'c [Option<Legs>])> + Clone,
    ) -> Result<Self> {
        let conditions = units.clone().flat_map(|(work, _)| &work.conditions);
        let asked = Asked::of(&core.database, conditions)?;
        let (mut rows, mut outward, mut is_sending) =
            (Columns::default(), Outward::default(), false);
        for (work, routed) in units {
            is_sending |= !work.messages.for_queues().is_empty();
            for (parcel, legs) in work.messages.for_queues().iter().zip(routed) {
                legs.iter().flatten().for_each(|queue| rows.add(parcel, queue));
            }
            work.messages.append_to(&mut outward);
        }
        let topology = is_sending.then_some(version);
        Ok(Self { now: core.now(), asked, topology, rows, outward })
    }

    /// For [`SCHEDULE`], if schedules are changed.
    pub(super) fn changes(&self) -> Option<[&(dyn ToSql + Sync); 9]> {
        let changes = &self.asked.changes;
        (!changes.is_empty()).then(|| changes.parameters())
    }

    /// For [`CONCLUDE`].
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 24] {
        let Acks { queues, places, epochs } = &self.asked.acks;
        let Sightings { endpoints, messages, keys, ids, hashes, keyed } = &self.asked.sightings;
        let (rows, outward) = (&self.rows, &self.outward);
        [
            &self.now,
            queues,
            places,
            epochs,
            endpoints,
            messages,
            keys,
            ids,
            hashes,
            keyed,
            &self.topology,
            &rows.queues,
            &rows.ranks,
            &rows.lanes,
            &rows.dues,
            &rows.expires,
            &rows.keys,
            &rows.envelopes,
            &rows.bodies,
            &outward.keys,
            &outward.dues,
            &outward.destinations,
            &outward.envelopes,
            &outward.bodies,
        ]
    }
}
