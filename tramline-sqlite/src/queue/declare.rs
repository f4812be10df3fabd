//! Queues and subscriptions are declared.

use super::routes::Routes;
use crate::error::failed;
use crate::writer::Work;
use rusqlite::params;
use tramline_core::capabilities::Ordering;
use tramline_core::topology::{CompiledRules, QueueSpec, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

/// Refuses, before anything is written, what SQLite does not offer and what cannot be right.
pub(crate) fn check(topology: &Topology) -> Result<()> {
    let refused: Vec<String> = topology.queues.iter().flat_map(refused_wishes).collect();
    if !refused.is_empty() {
        return Err(Error::unsupported(&refused.join(", "), "sqlite"));
    }
    for subscription in &topology.subscriptions {
        if let Err(faults) = CompiledRules::compile(&subscription.rules) {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let Subscription { queue, topic, .. } = subscription;
            let doing = format!("subscribe queue {queue} to topic {topic}");
            return Err(Error::new(ErrorKind::Misconfigured, doing).because(faults.join("; ")));
        }
    }
    Ok(())
}

fn refused_wishes(spec: &QueueSpec) -> Vec<String> {
    let asked = [
        (spec.ordering != Ordering::None, "order by key or queue"),
        (spec.temporary, "a temporary queue"),
        (spec.length_max.is_some(), "a maximum length"),
        (spec.dedup_window.is_some(), "deduplication"),
        (spec.delivery_limit.is_some(), "a delivery limit"),
        (spec.keep_completed.is_some(), "keeping handled messages"),
        (spec.keep_dead.is_some(), "a limit to keeping dead letters"),
        (!spec.arguments.is_empty(), "arguments of another broker"),
    ];
    let refused = asked.into_iter().filter(|(asked, _)| *asked);
    refused.map(|(_, what)| format!("{what} for queue {}", spec.name)).collect()
}

/// Writes what is not there yet. The inner error is an answer: nothing was written.
pub(crate) fn declare(work: &Work<'_>, topology: &Topology) -> Result<Result<()>> {
    if let Err(refused) = compare(&work.routes(), topology) {
        return Ok(Err(refused));
    }
    let changed = write(work, topology).map_err(|error| failed("declare a topology", error))?;
    if changed {
        work.touch_topology().map_err(|error| failed("declare a topology", error))?;
    }
    Ok(Ok(()))
}

fn compare(routes: &Routes, topology: &Topology) -> Result<()> {
    for asked in &topology.queues {
        let Some(queue) = routes.queue(asked.name.as_str()) else { continue };
        let differences = match queue.is_known {
            true => queue.spec.differences(asked),
            false => vec!["it was declared by a newer program, in words unknown here".into()],
        };
        if !differences.is_empty() {
            let doing = format!("declare queue {}", asked.name);
            return Err(Error::new(ErrorKind::Conflict, doing).because(differences.join(", ")));
        }
    }
    for Subscription { queue, topic, .. } in &topology.subscriptions {
        let is_declared = topology.queues.iter().any(|spec| spec.name == *queue);
        if !is_declared && routes.queue(queue.as_str()).is_none() {
            let doing = format!("subscribe queue {queue} to topic {topic}");
            return Err(Error::new(ErrorKind::NotFound, doing).because("there is no such queue"));
        }
    }
    Ok(())
}

fn write(work: &Work<'_>, topology: &Topology) -> rusqlite::Result<bool> {
    let json = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let mut changed = 0;
    for spec in &topology.queues {
        if work.routes().queue(spec.name.as_str()).is_some() {
            continue;
        }
        changed += work
            .connection
            .prepare_cached("INSERT OR IGNORE INTO tramline_queue (name, spec) VALUES (?1, ?2)")?
            .execute(params![spec.name.as_str(), serde_json::to_string(spec).map_err(json)?])?;
    }
    for Subscription { queue, topic, rules } in &topology.subscriptions {
        changed += work
            .connection
            .prepare_cached(
                "INSERT INTO tramline_subscription (topic, queue, rules)
                 SELECT ?1, id, ?3 FROM tramline_queue WHERE name = ?2
                 ON CONFLICT (topic, queue) DO UPDATE SET rules = excluded.rules
                 WHERE rules <> excluded.rules",
            )?
            .execute(params![
                topic.as_str(),
                queue.as_str(),
                serde_json::to_string(rules).map_err(json)?
            ])?;
    }
    Ok(changed > 0)
}
