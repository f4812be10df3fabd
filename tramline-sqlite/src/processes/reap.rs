//! What a dead or stuck process held goes back to its queues.

use super::lock::{LockFile, Orphan};
use crate::error::failed;
use crate::open::core::Core;
use crate::operate::Line;
use crate::queue::sql::tail;
use crate::queue::temporary;
use crate::store::outbox;
use crate::writer::{Job, Plan, Work, WriteError};
use tokio::sync::mpsc;
use tramline_core::Result;

/// Takes back what processes held that died, and clears their traces away.
pub(super) fn bury_the_dead(
    lock: &LockFile,
    jobs: &mpsc::Sender<Box<dyn Job>>,
) -> Result<(), WriteError> {
    let orphans = lock.orphans();
    if orphans.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = orphans.iter().map(|orphan| orphan.name.clone()).collect();
    Core::write_blocking(jobs, Plan::passing(names.len()), move |work| {
        for name in &names {
            remove(work, "lock", name)?;
        }
        let taken = take_back(work)?;
        work.count(Line::Redelivered, taken)
    })?;
    orphans.into_iter().for_each(Orphan::bury);
    Ok(())
}

/// Takes back what processes held whose lease has ended or whose lock file is gone. `suspects`
/// are their ids; whether their lease has ended is asked again inside of the transaction.
pub(super) fn expire(
    suspects: Vec<Suspect>,
    jobs: &mpsc::Sender<Box<dyn Job>>,
) -> Result<(), WriteError> {
    if suspects.is_empty() {
        return Ok(());
    }
    Core::write_blocking(jobs, Plan::passing(suspects.len()), move |work| {
        let now = work.now().as_micros();
        let mut gone = 0;
        for Suspect { id, is_gone } in &suspects {
            let delete = "DELETE FROM tramline_process WHERE id = ?1 AND (?2 OR lease_until < ?3)";
            gone += work
                .connection
                .prepare_cached(delete)
                .and_then(|mut statement| statement.execute((id, is_gone, now)))
                .map_err(|error| failed("give a process up", error))?;
        }
        if gone > 0 {
            tracing::warn!(processes = gone, "what processes held that no longer move is free");
            let taken = take_back(work)?;
            work.count(Line::Redelivered, taken)?;
        }
        Ok(())
    })
}

/// A process that may have to be given up.
pub(super) struct Suspect {
    pub(super) id: i64,
    /// Its lock file is gone.
    pub(super) is_gone: bool,
}

/// Takes this process off the file, with all that it still holds.
pub(crate) fn leave(work: &Work<'_>) -> Result<()> {
    remove(work, "lock", &work.shared.member.lock)?;
    take_back(work).map(|_| ())
}

fn remove(work: &Work<'_>, column: &str, value: &str) -> Result<()> {
    work.connection
        .prepare_cached(&format!("DELETE FROM tramline_process WHERE {column} = ?1"))
        .and_then(|mut statement| statement.execute([value]))
        .map(|_| ())
        .map_err(|error| failed("remove a process that died", error))
}

/// Gives back what is leased to processes that have no row any more; answers how much.
fn take_back(work: &Work<'_>) -> Result<usize> {
    const ORPHANED: &str = "process NOT IN (SELECT id FROM tramline_process)";
    const READY: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") SELECT queue, seq, ",
        tail!(),
        " FROM tramline_leased WHERE reason IS NULL AND "
    );
    const DEAD: &str = concat!(
        "INSERT INTO tramline_dead (queue, seq, name, reason, failed_at, ",
        tail!(),
        ") SELECT queue, seq, name, reason, failed_at, ",
        tail!(),
        " FROM tramline_leased WHERE reason IS NOT NULL AND "
    );
    let take_back = || -> rusqlite::Result<usize> {
        let mut taken = 0;
        let connection = work.connection;
        let queues: Vec<i64> = connection
            .prepare_cached(&format!(
                "SELECT DISTINCT queue FROM tramline_leased WHERE {ORPHANED}"
            ))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if !queues.is_empty() {
            connection.prepare_cached(&format!("{READY}{ORPHANED}"))?.execute([])?;
            connection.prepare_cached(&format!("{DEAD}{ORPHANED}"))?.execute([])?;
            let delete = format!("DELETE FROM tramline_leased WHERE {ORPHANED}");
            taken = connection.prepare_cached(&delete)?.execute([])?;
            queues.into_iter().for_each(|queue| work.wake(queue));
        }
        temporary::remove_orphaned(work)?;
        outbox::take_back(work)?;
        let delete = format!("DELETE FROM tramline_consumer WHERE {ORPHANED}");
        if connection.prepare_cached(&delete)?.execute([])? > 0 {
            work.touch_topology()?;
        }
        Ok(taken)
    };
    take_back().map_err(|error| failed("take back what a dead process held", error))
}
