//! Temporary queues: gone with whoever declared them.

use super::release::release;
use crate::error::failed;
use crate::writer::{Temporary, Work};
use rusqlite::{OptionalExtension, params};
use tramline_core::Result;
use tramline_core::name::QueueName;
use tramline_core::topology::{QueueSpec, Subscription, Topology};

/// Where a queue's messages stand.
const MESSAGES: [&str; 5] =
    ["tramline_ready", "tramline_delayed", "tramline_behind", "tramline_leased", "tramline_dead"];

/// What else is kept of a queue.
const REST: [&str; 9] = [
    "tramline_completed",
    "tramline_lane",
    "tramline_length",
    "tramline_seen",
    "tramline_unique",
    "tramline_subscription",
    "tramline_consumer",
    "tramline_temporary",
    "tramline_queue",
];

const OWN: &str = "INSERT INTO tramline_temporary (queue, process) VALUES (?1, ?2)";

/// The queue `id`, which `topology` asks for, is this process's.
pub(super) fn own(work: &Work<'_>, id: i64, spec: &QueueSpec, topology: &Topology) -> Result<()> {
    let process = work.process()?;
    work.connection
        .prepare_cached(OWN)
        .and_then(|mut statement| statement.execute(params![id, process]))
        .map_err(|error| failed("declare a temporary queue", error))?;
    let subscriptions = topology.subscriptions.iter().filter(|asked| asked.queue == spec.name);
    let subscriptions = subscriptions.cloned().collect();
    // If this is not committed after all, the queue is there once more than asked for, until the process ends.
    let queue = Temporary { id, spec: spec.clone(), subscriptions };
    let mut known = work.shared.member.temporary.lock();
    // A job may run more than once.
    known.retain(|other| other.spec.name != spec.name);
    known.push(queue);
    Ok(())
}

/// Makes a queue again, empty, for a process that was given up while it lived: under the same id, by which its
/// receivers know it.
pub(crate) fn restore(work: &Work<'_>, process: i64, queue: &Temporary) -> rusqlite::Result<()> {
    const QUEUE: &str = "INSERT OR IGNORE INTO tramline_queue (id, name, spec) VALUES (?1, ?2, ?3)";
    const SUBSCRIPTION: &str =
        "INSERT OR IGNORE INTO tramline_subscription (topic, queue, rules) VALUES (?1, ?2, ?3)";
    let (id, name) = (queue.id, queue.spec.name.as_str());
    let spec = serde_json::to_string(&queue.spec).map_err(json)?;
    let is_new = work.connection.prepare_cached(QUEUE)?.execute(params![id, name, spec])? > 0;
    if !is_new {
        return Ok(());
    }
    work.connection.prepare_cached(OWN)?.execute(params![id, process])?;
    for Subscription { topic, rules, .. } in &queue.subscriptions {
        let rules = serde_json::to_string(rules).map_err(json)?;
        let subscription = params![topic.as_str(), id, rules];
        work.connection.prepare_cached(SUBSCRIPTION)?.execute(subscription)?;
    }
    Ok(())
}

fn json(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// Whether the queue `id` is temporary, and somebody else's.
pub(super) fn is_of_others(work: &Work<'_>, id: i64) -> Result<bool> {
    let process = work.process()?;
    let owner: Option<i64> = work
        .connection
        .prepare_cached("SELECT process FROM tramline_temporary WHERE queue = ?1")
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
        .map_err(|error| failed("see whose a temporary queue is", error))?;
    Ok(owner.is_some_and(|owner| owner != process))
}

/// Removes those that were declared here under these names.
pub(crate) fn remove_all(work: &Work<'_>, names: &[QueueName]) -> Result<()> {
    const ID: &str =
        "SELECT t.queue FROM tramline_temporary t JOIN tramline_queue q ON q.id = t.queue
         WHERE q.name = ?1 AND t.process = ?2";
    if names.is_empty() {
        return Ok(());
    }
    let process = work.process()?;
    let remove_all = || -> rusqlite::Result<()> {
        for name in names {
            let mut id = work.connection.prepare_cached(ID)?;
            let id = id.query_row(params![name.as_str(), process], |row| row.get(0)).optional()?;
            id.map_or(Ok(()), |id| remove(work, id))?;
        }
        work.touch_topology()
    };
    work.shared.member.temporary.lock().retain(|queue| !names.contains(&queue.spec.name));
    remove_all().map_err(|error| failed("remove a temporary queue", error))
}

/// Removes those of processes that have no row any more.
pub(crate) fn remove_orphaned(work: &Work<'_>) -> rusqlite::Result<()> {
    const ORPHANED: &str = "SELECT queue FROM tramline_temporary
         WHERE process NOT IN (SELECT id FROM tramline_process)";
    let ids: Vec<i64> = work
        .connection
        .prepare_cached(ORPHANED)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if ids.is_empty() {
        return Ok(());
    }
    ids.iter().try_for_each(|id| remove(work, *id))?;
    work.touch_topology()
}

fn remove(work: &Work<'_>, id: i64) -> rusqlite::Result<()> {
    for table in MESSAGES.iter().chain(&["tramline_completed"]) {
        let bodies = format!("SELECT seq FROM {table} WHERE queue = ?1");
        let bodies: Vec<i64> = work
            .connection
            .prepare_cached(&bodies)?
            .query_map([id], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        bodies.into_iter().try_for_each(|seq| release(work, seq))?;
    }
    for table in MESSAGES.iter().chain(&REST) {
        let column = if *table == "tramline_queue" { "id" } else { "queue" };
        let delete = format!("DELETE FROM {table} WHERE {column} = ?1");
        work.connection.prepare_cached(&delete)?.execute([id])?;
    }
    Ok(())
}
