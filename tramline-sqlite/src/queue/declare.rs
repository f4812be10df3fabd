//! Queues and subscriptions are declared.

use super::routes::Routes;
use super::temporary;
use crate::error::failed;
use crate::writer::Work;
use rusqlite::params;
use tramline_core::name::QueueName;
use tramline_core::topology::{CompiledRules, QueueSpec, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

/// Refuses, before anything is written, what SQLite does not offer and what cannot be right.
pub(crate) fn check(topology: &Topology) -> Result<()> {
    let refused: Vec<String> = topology.queues.iter().flat_map(refused_wishes).collect();
    let faulty: Vec<String> = topology.subscriptions.iter().filter_map(faulty_rules).collect();
    if faulty.is_empty() && refused.is_empty() {
        return Ok(());
    }
    if faulty.is_empty() {
        return Err(Error::unsupported(&refused.join(", "), "sqlite"));
    }
    let refused = refused.into_iter().map(|what| format!("sqlite does not offer {what}"));
    let why: Vec<String> = faulty.into_iter().chain(refused).collect();
    Err(Error::new(ErrorKind::Misconfigured, "declare a topology").because(why.join("; ")))
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

/// Writes what is not there yet. The inner error is an answer: nothing was written.
pub(crate) fn declare(work: &Work<'_>, topology: &Topology) -> Result<Result<()>> {
    if let Err(refused) = compare(&work.routes(), topology) {
        return Ok(Err(refused));
    }
    for spec in topology.queues.iter().filter(|spec| spec.temporary) {
        let routes = work.routes();
        if let Some(queue) = routes.queue(spec.name.as_str())
            && temporary::is_of_others(work, queue.id)?
        {
            let doing = format!("declare queue {}", spec.name);
            let why = "it is the temporary queue of another process";
            return Ok(Err(Error::new(ErrorKind::Conflict, doing).because(why)));
        }
    }
    let changed = write(work, topology).map_err(|error| failed("declare a topology", error))?;
    for (id, spec) in changed.temporary {
        temporary::own(work, id, spec, topology)?;
    }
    if changed.is_any {
        work.touch_topology().map_err(|error| failed("declare a topology", error))?;
    }
    Ok(Ok(()))
}

/// Everything that speaks against it, told at once.
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
    Err(Error::new(kind, "declare a topology").because(why.join("; ")))
}

fn difference(routes: &Routes, asked: &QueueSpec) -> Option<String> {
    let queue = routes.queue(asked.name.as_str())?;
    let differences = match queue.is_known {
        true => queue.spec.differences(asked),
        false => vec!["it was declared by a newer program, in words unknown here".into()],
    };
    (!differences.is_empty()).then(|| format!("queue {}: {}", asked.name, differences.join(", ")))
}

/// What a declaration has changed.
struct Changed<'t> {
    is_any: bool,
    /// Temporary queues that were not there.
    temporary: Vec<(i64, &'t QueueSpec)>,
}

fn write<'t>(work: &Work<'_>, topology: &'t Topology) -> rusqlite::Result<Changed<'t>> {
    let mut changed = 0;
    let mut temporary = Vec::new();
    for spec in &topology.queues {
        if work.routes().queue(spec.name.as_str()).is_some() {
            continue;
        }
        changed += work
            .connection
            .prepare_cached("INSERT INTO tramline_queue (name, spec) VALUES (?1, ?2)")?
            .execute(params![spec.name.as_str(), serde_json::to_string(spec).map_err(json)?])?;
        if spec.temporary {
            temporary.push((work.connection.last_insert_rowid(), spec));
        }
        if spec.length_max.is_some() {
            let length = "INSERT INTO tramline_length (queue, count) VALUES (?1, 0)";
            let queue = work.connection.last_insert_rowid();
            work.connection.prepare_cached(length)?.execute([queue])?;
        }
    }
    for Subscription { queue, topic, rules } in &topology.subscriptions {
        changed += work
            .connection
            .prepare_cached(
                "INSERT INTO tramline_subscription (topic, queue, rules)
                 SELECT ?1, id, ?3 FROM tramline_queue WHERE name = ?2
                 ON CONFLICT (topic, queue) DO UPDATE SET rules = excluded.rules, orphaned = 0
                 WHERE rules <> excluded.rules OR orphaned = 1",
            )?
            .execute(params![
                topic.as_str(),
                queue.as_str(),
                serde_json::to_string(rules).map_err(json)?
            ])?;
    }
    for spec in &topology.queues {
        changed += write_orphans(work, &spec.name, topology)?;
    }
    Ok(Changed { is_any: changed > 0, temporary })
}

/// What this declaration of a queue did not ask for any more is orphaned. Answers how much.
fn write_orphans(
    work: &Work<'_>,
    queue: &QueueName,
    topology: &Topology,
) -> rusqlite::Result<usize> {
    const SQL: &str = "UPDATE tramline_subscription SET orphaned = 1
         WHERE orphaned = 0 AND queue = (SELECT id FROM tramline_queue WHERE name = ?1)
             AND topic NOT IN (SELECT value FROM json_each(?2))";
    let of_queue =
        topology.subscriptions.iter().filter(|subscription| subscription.queue == *queue);
    let topics: Vec<&str> = of_queue.map(|subscription| subscription.topic.as_str()).collect();
    let topics = serde_json::to_string(&topics).map_err(json)?;
    work.connection.prepare_cached(SQL)?.execute(params![queue.as_str(), topics])
}

fn json(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
