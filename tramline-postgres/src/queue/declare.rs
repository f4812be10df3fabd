//! Queues and subscriptions are declared.

use super::routes::Routes;
use crate::error::failed;
use crate::link::{Connected, Params};
use crate::open::Core;
use tramline_core::capabilities::Ordering;
use tramline_core::topology::{CompiledRules, QueueSpec, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

const DOING: &str = "declare a topology";

/// Writes what is not there yet, all of it or nothing. Those who declare take turns.
///
/// # Errors
/// Everything that speaks against it, told at once.
pub(crate) async fn declare(connected: &Connected, topology: &Topology, core: &Core) -> Result<()> {
    check(topology)?;
    run(connected, "BEGIN").await?;
    let declared = in_transaction(connected, topology, core).await;
    let ended = run(connected, if declared.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    // The first error is the one to tell; a failed roll back ends with the connection.
    declared?;
    ended
}

async fn run(connected: &Connected, sql: &str) -> Result<()> {
    connected.run(sql).await.map_err(|error| failed(DOING, &error))
}

async fn in_transaction(connected: &Connected, topology: &Topology, core: &Core) -> Result<()> {
    run(connected, "LOCK TABLE tramline.topology IN EXCLUSIVE MODE").await?;
    compare(&Routes::load(connected).await?, topology)?;
    refuse_those_of_others(connected, topology, core).await?;
    if write(connected, topology, core).await? > 0 {
        run(connected, "SELECT tramline.new_topology()").await?;
    }
    Ok(())
}

/// Refuses, before anything is written, what PostgreSQL does not offer and what cannot be right.
fn check(topology: &Topology) -> Result<()> {
    let refused: Vec<String> = topology.queues.iter().flat_map(refused_wishes).collect();
    let faulty: Vec<String> = topology.subscriptions.iter().filter_map(faulty_rules).collect();
    if faulty.is_empty() && refused.is_empty() {
        return Ok(());
    }
    if faulty.is_empty() {
        return Err(Error::unsupported(&refused.join(", "), "postgres"));
    }
    let refused = refused.into_iter().map(|what| format!("postgres does not offer {what}"));
    let why: Vec<String> = faulty.into_iter().chain(refused).collect();
    Err(Error::new(ErrorKind::Misconfigured, DOING).because(why.join("; ")))
}

fn faulty_rules(subscription: &Subscription) -> Option<String> {
    let faults = CompiledRules::compile(&subscription.rules).err()?;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let Subscription { queue, topic, .. } = subscription;
    Some(format!("queue {queue} on topic {topic}: {}", faults.join(", ")))
}

fn refused_wishes(spec: &QueueSpec) -> Vec<String> {
    let asked = [
        (spec.delivery_limit.is_some(), "a delivery limit"),
        (!spec.arguments.is_empty(), "arguments of another broker"),
    ];
    let refused = asked.into_iter().filter(|(asked, _)| *asked);
    refused.map(|(_, what)| format!("{what} for queue {}", spec.name)).collect()
}

fn compare(routes: &Routes, topology: &Topology) -> Result<()> {
    let different: Vec<String> =
        topology.queues.iter().filter_map(|asked| difference(routes, asked)).collect();
    let is_missing = |subscription: &&Subscription| {
        let queue = &subscription.queue;
        let is_declared = topology.queues.iter().any(|spec| spec.name == *queue);
        !is_declared && routes.queue(queue.as_str()).is_none()
    };
    let missing = topology.subscriptions.iter().filter(is_missing);
    let missing: Vec<String> = missing
        .map(|Subscription { queue, topic, .. }| {
            format!("there is no queue {queue} to subscribe to topic {topic}")
        })
        .collect();
    let kind = match (different.is_empty(), missing.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => ErrorKind::NotFound,
        (false, _) => ErrorKind::Conflict,
    };
    let why: Vec<String> = different.into_iter().chain(missing).collect();
    Err(Error::new(kind, DOING).because(why.join("; ")))
}

fn difference(routes: &Routes, asked: &QueueSpec) -> Option<String> {
    let queue = routes.queue(asked.name.as_str())?;
    let differences = match queue.is_known {
        true => queue.spec.differences(asked),
        false => vec!["it was declared by a newer program, in words unknown here".into()],
    };
    (!differences.is_empty()).then(|| format!("queue {}: {}", asked.name, differences.join(", ")))
}

/// Answers how many rows it changed.
async fn write(connected: &Connected, topology: &Topology, core: &Core) -> Result<u64> {
    const QUEUE: &str = "WITH made AS (
             INSERT INTO tramline.queue (name, spec, ordering, priority_max, length_max, dedup_window,
                 is_unique, keep_completed, keep_dead, is_particular)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING 1)
         SELECT count(*) FROM made";
    const SUBSCRIPTION: &str = "WITH made AS (
             INSERT INTO tramline.subscription AS s (topic, queue, rules)
             SELECT $1, id, $3 FROM tramline.queue WHERE name = $2
             ON CONFLICT (topic, queue) DO UPDATE SET rules = excluded.rules, orphaned = false
             WHERE s.rules <> excluded.rules OR s.orphaned RETURNING 1)
         SELECT count(*) FROM made";
    const ORPHANS: &str = "WITH orphaned AS (
             UPDATE tramline.subscription SET orphaned = true
             WHERE NOT orphaned AND queue = (SELECT id FROM tramline.queue WHERE name = $1)
                 AND NOT topic = ANY ($2) RETURNING 1)
         SELECT count(*) FROM orphaned";
    const OWN: &str = "SELECT tramline.own($1, $2, $3, $4, $5)";
    let told = |error: tokio_postgres::Error| failed(DOING, &error);
    let mut changed: i64 = 0;
    for spec in &topology.queues {
        let columns = Columns::of(spec)?;
        let row = connected
            .query_one(
                QUEUE,
                &[
                    &spec.name.as_str(),
                    &columns.spec,
                    &columns.ordering,
                    &columns.priority_max,
                    &columns.length_max,
                    &columns.dedup_window,
                    &spec.unique,
                    &columns.keep_completed,
                    &columns.keep_dead,
                    &columns.is_particular,
                ],
            )
            .await;
        let made = row.map_err(told)?.get::<_, i64>(0);
        if made > 0 && spec.temporary {
            let (lease, now) = (core.lease_micros(), core.now());
            let params: &Params<'_> =
                &[&spec.name.as_str(), &core.process, &core.label, &lease, &now];
            connected.query_one(OWN, params).await.map_err(told)?;
        }
        changed += made;
    }
    for Subscription { queue, topic, rules } in &topology.subscriptions {
        let row = connected
            .query_one(SUBSCRIPTION, &[&topic.as_str(), &queue.as_str(), &json(rules)?])
            .await;
        changed += row.map_err(told)?.get::<_, i64>(0);
    }
    for spec in &topology.queues {
        let of_queue = topology.subscriptions.iter().filter(|asked| asked.queue == spec.name);
        let topics: Vec<&str> = of_queue.map(|asked| asked.topic.as_str()).collect();
        let row = connected.query_one(ORPHANS, &[&spec.name.as_str(), &topics]).await;
        changed += row.map_err(told)?.get::<_, i64>(0);
    }
    Ok(changed.unsigned_abs())
}

/// Under one name a temporary queue is one process's.
async fn refuse_those_of_others(
    connected: &Connected,
    topology: &Topology,
    core: &Core,
) -> Result<()> {
    const OTHERS: &str = "SELECT array_agg(q.name) FROM tramline.temporary t
         JOIN tramline.queue q ON q.id = t.queue WHERE q.name = ANY ($1) AND t.process <> $2";
    let asked = topology.queues.iter().filter(|spec| spec.temporary);
    let asked: Vec<&str> = asked.map(|spec| spec.name.as_str()).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let row = connected.query_one(OTHERS, &[&asked, &core.process]).await;
    let row = row.map_err(|error| failed(DOING, &error))?;
    let Some(taken) = row.get::<_, Option<Vec<String>>>(0) else { return Ok(()) };
    let why = format!("{} is the temporary queue of another process", taken.join(", "));
    Err(Error::new(ErrorKind::Conflict, DOING).because(why))
}

/// What functions have to know of a queue.
pub(super) struct Columns {
    pub(super) spec: String,
    pub(super) ordering: i16,
    pub(super) priority_max: i16,
    pub(super) length_max: Option<i64>,
    pub(super) dedup_window: Option<i64>,
    pub(super) keep_completed: Option<i64>,
    pub(super) keep_dead: Option<i64>,
    pub(super) is_particular: bool,
}

impl Columns {
    pub(super) fn of(spec: &QueueSpec) -> Result<Self> {
        let ordering = match spec.ordering {
            Ordering::None => 0_i16,
            Ordering::PerKey => 1,
            Ordering::PerQueue => 2,
        };
        let micros = |time: Option<std::time::Duration>| {
            time.map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2))
        };
        Ok(Self {
            spec: json(spec)?,
            ordering,
            priority_max: i16::from(spec.priority_max.unwrap_or(0)),
            length_max: spec.length_max.map(|max| i64::try_from(max).unwrap_or(i64::MAX)),
            dedup_window: micros(spec.dedup_window),
            keep_completed: micros(spec.keep_completed),
            keep_dead: micros(spec.keep_dead),
            is_particular: ordering != 0
                || spec.length_max.is_some()
                || spec.unique
                || spec.keep_completed.is_some(),
        })
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Refused, DOING).because(error))
}
