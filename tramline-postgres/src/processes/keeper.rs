//! Every few seconds a process says that it lives, and looks after what the dead have left.

use super::vacuum::Vacuum;
use crate::deliver::Job;
use crate::error::failed;
use crate::link::Params;
use crate::open::Core;
use crate::operate::forget;
use crate::schema;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tramline_core::Result;

/// How often, if the lease is not short. It is also how long at most a message waits that nobody was
/// told of.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps the leases of a process until its core is gone.
pub(crate) async fn keep(core: Weak<Core>) {
    let known = core.upgrade().map(|core| (core.settings.lease, core.announced.clone()));
    let Some((lease, announced)) = known else { return };
    let every = EVERY.min(lease / 6);
    let began = Instant::now();
    let (mut looked, mut heard, mut forgot) = (began, began, began);
    let (mut is_often, vacuum) = (false, Vacuum::default());
    loop {
        let was_asked = announced.beat.next(looked, every, is_often).await;
        let Some(core) = core.upgrade() else { return };
        looked = Instant::now();
        // Not a moment longer than the lease can be relied on; once it cannot, that matters no more.
        let relied = (lease * 5 / 6).saturating_sub(heard.elapsed());
        let patience = if relied.is_zero() { lease / 2 } else { relied.min(lease / 2) };
        let tended = async {
            let is_watched = tend(&core, &vacuum).await?;
            heard = looked;
            if forgot.elapsed() >= every {
                forgot = looked;
                forget(&core, every / 2).await?;
            }
            Ok(is_watched)
        };
        let tended: Result<Result<bool>, _> = tokio::time::timeout(patience, tended).await;
        let is_watched = match &tended {
            Ok(Ok(is_watched)) => *is_watched,
            Ok(Err(error)) => {
                tracing::warn!(%error, "to be tried again");
                false
            }
            Err(_) => {
                tracing::warn!(target = %core.target, "the server does not answer");
                false
            }
        };
        // Who was asked to look early looks once more: what others are about to take is not taken yet.
        is_often = is_watched || was_asked;
        // Each time it hears, the server lets at least so much of the lease remain.
        if heard.elapsed() >= lease * 5 / 6 {
            // Others may have taken it by now.
            core.leases.lose_all();
        }
    }
}

/// Answers whether others hold something and can be seen to die.
async fn tend(core: &Arc<Core>, vacuum: &Vacuum) -> Result<bool> {
    const TEND: &str = "SELECT t.*, s.version,
             pg_stat_get_dead_tuples('tramline.message'::regclass),
             pg_stat_get_dead_tuples('tramline.outbox'::regclass)
         FROM tramline.schema s, tramline.tend($1, $2, $3, $4, $5, $6, $7, $8) t";
    core.temporary.restore(core).await?;
    let connected = core.operating.connected().await?;
    let (tokens, resting) = (core.leases.tokens(), core.sleepers.all());
    let (backend, judges) = core.announced.shown(Instant::now());
    let (lease, now) = (core.lease_micros(), core.now());
    let params: &Params<'_> =
        &[&core.process, &core.label, &lease, &now, &tokens, &resting, &backend, &judges];
    let row = connected.query_one(TEND, params).await;
    let row = match row {
        Ok(row) => row,
        Err(error) => {
            let error = failed(format!("renew leases at {}", core.target), &error);
            return Err(core.explained(error).await);
        }
    };
    if row.get::<_, i32>(7) > schema::NEWEST {
        core.check_version(&connected).await?;
    }
    vacuum.sees(core, row.get(8), row.get(9));
    core.announced.written(backend);
    core.leases.lose(&row.get::<_, Vec<i64>>(0));
    core.woken_by_commit(row.get::<_, Vec<i32>>(1));
    row.get::<_, Vec<i32>>(2).into_iter().for_each(|queue| core.hub.wake(queue.into()));
    core.hears_clock(row.get(5));
    if row.get(6) {
        core.announced.is_cut();
    }
    // A claim whose answer was lost, or that could not be let go of wholly.
    for token in row.get::<_, Vec<i64>>(4) {
        if !core.leases.knows(token) {
            core.settling.submit(core, Job::GiveBack(token));
        }
    }
    Ok(row.get(3))
}
