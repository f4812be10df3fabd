//! What is measured. Everything is as durable as it is by default.

use super::apalis::Apalis;
use super::database::Database;
use super::outbox::{self, Way};
use super::pipeline::{self, Writing};
use super::{ours, peer, twin};
use crate::Result;
use crate::latency::PACE;
use crate::round::{Amount, Case, Figure, Run, Side};
use std::rc::Rc;

/// Handlers at once.
const CONCURRENCY: usize = 100;

/// Messages a second.
const RATE: &[Figure] = &[Figure { name: "", unit: "msg/s" }, SERVER];
/// Behind all others: how much the server's processes worked.
const SERVER: Figure = Figure { name: "server's CPU", unit: "µs/msg" };
const LATENCY: &[Figure] =
    &[Figure { name: "p50", unit: "ms" }, Figure { name: "p99", unit: "ms" }, SERVER];

pub(crate) fn cases() -> Result<Vec<Case>> {
    let database = Database::new()?;
    let on = |run: fn(&Database, u64) -> Result<Run>| -> Side {
        let database = database.clone();
        Box::new(move |messages| run(&database, messages))
    };
    let full_speed = |first, max| Amount::FullSpeed { first, max };
    let mut cases = vec![
        Case {
            name: "enqueue, 1000 in flight (at least 0.8)".to_owned(),
            figures: RATE,
            amount: full_speed(20_000, 300_000),
            ours: on(|database, messages| ours::enqueue(database, messages, 1000)),
            twin: Some(on(|database, messages| twin::enqueue(database, messages, 1000))),
        },
        Case {
            name: "enqueue, 16 callers (at least 0.9)".to_owned(),
            figures: RATE,
            amount: full_speed(2_000, 100_000),
            ours: on(|database, messages| ours::enqueue(database, messages, 16)),
            twin: Some(on(|database, messages| twin::enqueue(database, messages, 16))),
        },
        Case {
            name: "enqueue, 16 callers; twin has 16 connections (above 1)".to_owned(),
            figures: RATE,
            amount: full_speed(2_000, 100_000),
            ours: on(|database, messages| ours::enqueue(database, messages, 16)),
            twin: Some(on(|database, messages| twin::enqueue_each(database, messages, 16))),
        },
        Case {
            name: format!("consume and ack, concurrency {CONCURRENCY} (at least 0.8)"),
            figures: RATE,
            amount: full_speed(20_000, 200_000),
            ours: on(|database, messages| ours::consume(database, messages, CONCURRENCY)),
            twin: Some(on(|database, messages| twin::consume(database, messages, CONCURRENCY))),
        },
    ];
    cases.push(beside_apalis(&database));
    cases.push(Case {
        name: format!("end to end, {PACE} a second, to another process"),
        figures: LATENCY,
        amount: Amount::Paced(PACE),
        ours: on(peer::ours),
        twin: Some(on(peer::twin)),
    });
    cases.extend(pipelines(&on));
    cases.extend(outboxes(&on));
    Ok(cases)
}

fn beside_apalis(database: &Rc<Database>) -> Case {
    let (of_ours, of_peer) = (database.clone(), database.clone());
    let apalis = Apalis::default();
    Case {
        name: format!("consume and ack, concurrency {CONCURRENCY}; apalis-postgres (at least 4)"),
        figures: RATE,
        amount: Amount::FullSpeed { first: 20_000, max: 50_000 },
        ours: Box::new(move |messages| ours::consume(&of_ours, messages, CONCURRENCY)),
        twin: Some(Box::new(move |messages| apalis.consume(&of_peer, messages, CONCURRENCY))),
    }
}

fn pipelines(on: &impl Fn(fn(&Database, u64) -> Result<Run>) -> Side) -> Vec<Case> {
    let case = |name: &str, ours, twin| Case {
        name: format!("pipeline, {name}"),
        figures: RATE,
        amount: Amount::FullSpeed { first: 5_000, max: 100_000 },
        ours,
        twin: Some(twin),
    };
    vec![
        case(
            "a transaction for each handler (at least 5,000/s)",
            on(|database, messages| pipeline::ours(database, messages, Writing::Connection)),
            on(pipeline::twin),
        ),
        case(
            "queued statements (at least 15,000/s)",
            on(|database, messages| pipeline::ours(database, messages, Writing::Queued)),
            on(pipeline::twin_together),
        ),
    ]
}

fn outboxes(on: &impl Fn(fn(&Database, u64) -> Result<Run>) -> Side) -> Vec<Case> {
    let case = |name: &str, amount, ours, twin| Case {
        name: format!("outbox to RabbitMQ, {name}"),
        figures: outbox::FIGURES,
        amount,
        ours,
        twin: Some(twin),
    };
    vec![
        case(
            "16 writers, queued statements (at least 1.5)",
            Amount::FullSpeed { first: 5_000, max: 40_000 },
            on(|database, messages| outbox::ours(database, messages, Way::AtOnce, Writing::Queued)),
            on(|database, messages| outbox::twin(database, messages, Way::AtOnce)),
        ),
        case(
            "16 writers, transactions of their own",
            Amount::FullSpeed { first: 5_000, max: 40_000 },
            on(|database, messages| {
                outbox::ours(database, messages, Way::AtOnce, Writing::Connection)
            }),
            on(|database, messages| outbox::twin(database, messages, Way::AtOnce)),
        ),
        case(
            "500 a second (p99 at most 1)",
            Amount::Paced(outbox::PACE),
            on(|database, messages| {
                outbox::ours(database, messages, Way::Paced, Writing::Connection)
            }),
            on(|database, messages| outbox::twin(database, messages, Way::Paced)),
        ),
    ]
}
