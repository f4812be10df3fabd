//! Batches become rows, in one transaction.

use super::columns::Columns;
use super::placed::Placed;
use super::placing::Placing;
use super::plan::{Plan, Step};
use super::sending::{Fault, Job};
use crate::error::{failed, is_certain, kind};
use crate::link::{Backoff, Connected, Line};
use crate::open::Core;
use crate::queue::{Legs, Parcel, Routes};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tramline_core::ErrorKind;
use tramline_core::dead::Reason;

/// Published inside a transaction of this database.
pub(crate) const BORN_HERE: i32 = 1;
/// It did not come straight through a topic: a copy, a retry or a redrive.
pub(crate) const DIRECT: i32 = 2;

/// How long to wait before routes are read that were old twice in a row.
const STALE_PAUSE: Duration = Duration::from_millis(10);

/// Why nothing of an attempt is in, or not known to be.
enum Failed {
    /// Somebody has changed the topology.
    Routes,
    Postgres(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Writes all of `jobs` and answers them. What one of them is refused for takes none of the others
/// down: then each is written by itself.
pub(super) async fn write(core: &Arc<Core>, line: &Line, mut jobs: Vec<Job>) {
    if jobs.is_empty() {
        return;
    }
    let refuse = |jobs: Vec<Job>, fault: Fault| {
        jobs.into_iter().for_each(|job| job.answer(Err(fault.clone())));
    };
    let mut was_stale = false;
    let mut backoff = Backoff::default();
    loop {
        if let Err(outdated) = core.refuse_when_outdated() {
            return refuse(jobs, Fault::Refused(outdated));
        }
        let connected = match line.connected().await {
            Ok(connected) => connected,
            Err(error) => return refuse(jobs, Fault::Refused(error)),
        };
        // Who has been told meanwhile that it may be in has perhaps sent it again.
        jobs.retain(|job| !job.reply.is_closed());
        if jobs.is_empty() {
            return;
        }
        let routes = core.routes();
        let parcels: Vec<&Parcel> = jobs.iter().flat_map(|job| &job.parcels).collect();
        let routed: Vec<Option<Legs>> =
            parcels.iter().map(|parcel| routes.legs(&parcel.to, &parcel.envelope)).collect();
        match attempt(core, &connected, &routes, &parcels, &routed).await {
            Ok(placed) => {
                drop(parcels);
                wake(core, &routed, &placed);
                let mut placed = placed.into_iter();
                for job in jobs {
                    let of_job = placed.by_ref().take(job.parcels.len()).collect();
                    job.answer(Ok(of_job));
                }
                return;
            }
            Err(Failed::Routes) => {
                if let Err(error) = core.reload(&connected).await {
                    if !error.is_transient() {
                        return refuse(jobs, Fault::Refused(error));
                    }
                    line.hang_up();
                }
                // Not all the time, where somebody declares all the time.
                if std::mem::replace(&mut was_stale, true) {
                    tokio::time::sleep(STALE_PAUSE).await;
                }
            }
            Err(Failed::Postgres(error)) if !is_certain(&error) => {
                line.hang_up();
                return refuse(jobs, Fault::Unknown(failed(doing(core), &error)));
            }
            // Connected anew, it may be another server, or this one is about to be promoted. Those who
            // have no time left go.
            Err(Failed::Postgres(error)) if is_read_only(&error) => {
                drop(parcels);
                core.trouble(&failed(doing(core), &error), &mut backoff).await;
            }
            // Two who send to the same queues in other orders: one of them is told to try again.
            Err(Failed::Postgres(error)) if error.code().is_some_and(|c| c.code() == "40P01") => {}
            Err(Failed::Postgres(error)) if jobs.len() == 1 || is_the_servers(&error) => {
                let error = core.explained(failed(doing(core), &error)).await;
                return refuse(jobs, Fault::Refused(error));
            }
            Err(Failed::Postgres(_)) => {
                drop(parcels);
                for job in jobs {
                    Box::pin(write(core, line, vec![job])).await;
                }
                return;
            }
        }
    }
}

fn doing(core: &Core) -> String {
    format!("send to {}", core.target)
}

fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// Whether the server failed, and not what was asked of it.
fn is_the_servers(error: &tokio_postgres::Error) -> bool {
    matches!(
        kind(error),
        ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Misconfigured
    )
}

/// One transaction, or a single call where that is enough. A future that is dropped leaves it open:
/// the task that sends drops none.
async fn attempt(
    core: &Core,
    connected: &Connected,
    routes: &Routes,
    parcels: &[&Parcel],
    routed: &[Option<Legs>],
) -> Result<Vec<Placed>, Failed> {
    let Plan { steps, mut placed } = Plan::of(parcels.iter().copied(), routed);
    let is_one_call = matches!(&steps[..], [] | [Step::Put(_)]);
    if !is_one_call {
        connected.run("BEGIN").await?;
    }
    let written = async {
        for step in steps {
            match step {
                Step::Put(rows) => put(core, connected, routes, &rows, 0).await?,
                Step::Place(index, parcel, legs) => {
                    placed[index] = Some(place(core, connected, routes, parcel, legs, 0).await?);
                }
            }
        }
        Ok(())
    };
    let written: Result<(), Failed> = written.await;
    if !is_one_call {
        let ended = connected.run(if written.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
        // The first error is the one to tell; a failed roll back ends with the connection.
        written?;
        ended?;
    } else {
        written?;
    }
    Ok(placed.into_iter().map(|placed| placed.unwrap_or(Placed::NoSuchQueue)).collect())
}

async fn put(
    core: &Core,
    connected: &Connected,
    routes: &Routes,
    rows: &Columns<'_>,
    flags: i32,
) -> Result<(), Failed> {
    let Columns { queues, ranks, lanes, dues, expires, keys, envelopes, bodies } = rows;
    let row = connected
        .query_one(
            Columns::SQL,
            &[
                &routes.version,
                &core.now(),
                &flags,
                queues,
                ranks,
                lanes,
                dues,
                expires,
                keys,
                envelopes,
                bodies,
            ],
        )
        .await?;
    if row.get(0) { Ok(()) } else { Err(Failed::Routes) }
}

async fn place(
    core: &Core,
    connected: &Connected,
    routes: &Routes,
    parcel: &Parcel,
    legs: &Legs,
    flags: i32,
) -> Result<Placed, Failed> {
    const PLACE: &str = "SELECT tramline.place($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
            $13, $14, $15, $16, $17)";
    const PLACE_DEAD: &str = "SELECT tramline.place_dead($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
            $11, $12, $13, $14, $15, $16)";
    let placing = Placing::of(parcel, legs, flags);
    let Placing { flags, is_judged, queues, ranks, seen_as, due, .. } = &placing;
    let known: [&(dyn ToSql + Sync); 9] = [
        &placing.failures,
        &placing.trials,
        &placing.unhandled_since,
        &placing.first_failed_at,
        &placing.history,
        &placing.expires_at,
        &placing.key,
        &placing.envelope,
        &placing.body,
    ];
    let (version, now) = (routes.version, core.now());
    let row = if let (true, Some(queue)) = (parcel.is_dead(), legs.first()) {
        let name = parcel.envelope.name.as_deref().unwrap_or_default();
        let reason = parcel.recorded.reason.as_ref().map_or("sent", Reason::as_str);
        let own: [&(dyn ToSql + Sync); 7] =
            [&version, &now, flags, &queue.id, &ranks[0], &name, &reason];
        connected.query_one(PLACE_DEAD, &[&own[..], &known[..]].concat()).await?
    } else {
        let own: [&(dyn ToSql + Sync); 8] =
            [&version, &now, flags, is_judged, queues, ranks, seen_as, due];
        connected.query_one(PLACE, &[&own[..], &known[..]].concat()).await?
    };
    Placing::answered(row.get(0), legs).ok_or(Failed::Routes)
}

/// Whoever reads these queues has something to read.
fn wake(core: &Arc<Core>, routed: &[Option<Legs>], placed: &[Placed]) {
    let in_queues = routed.iter().zip(placed);
    let in_queues = in_queues.filter(|(_, placed)| matches!(placed, Placed::In(_)));
    let queues: BTreeSet<i32> =
        in_queues.flat_map(|(legs, _)| legs.iter().flatten()).map(|queue| queue.id).collect();
    core.woken_by_commit(queues);
}
