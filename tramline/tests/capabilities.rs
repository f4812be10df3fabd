//! `docs/capabilities.md` says what the drivers declare, and nothing else.
//!
//! `TRAMLINE_WRITE=1 cargo test -p tramline --all-features --test capabilities` writes it anew.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use tramline::core::capabilities::{
    Capabilities, Delay, DeliveryCount, HeaderValues, LengthLimit, Ordering, Support,
    TemporaryQueues,
};
use tramline::core::name::QueueName;
use tramline::core::topology::QueueSpec;
use tramline::core::transport::Transport;
use tramline::{Memory, Postgres, Sqlite};

const HEAD: &str = "\
# What each transport can do

Made from what the drivers declare, by `tramline/tests/capabilities.rs`. *by the bus*: the broker
cannot, and the engine does it with what the broker has. –: not there; an endpoint that asks for it
is refused at `start()`. On RabbitMQ delays above 100 s are rounded up to a second.

";

#[tokio::test]
async fn the_table_of_capabilities_says_what_the_drivers_declare() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/capabilities.md");
    let made = page().await;
    if std::env::var_os("TRAMLINE_WRITE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == made, "docs/capabilities.md is not as the drivers are: write it anew");
}

async fn page() -> String {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path().join("a.db")).await.unwrap();
    let spec = |arguments: &[(&str, &str)]| {
        let mut spec = QueueSpec::new(QueueName::new("q").unwrap());
        let pairs = arguments.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        spec.arguments.extend(pairs);
        spec
    };
    let rabbitmq = tramline::rabbitmq::RabbitMqOptions::from_url("amqp://localhost").unwrap();
    let postgres = Postgres::options("postgres://localhost/orders");
    let columns = [
        ("memory", Memory::new().capabilities(&spec(&[]))),
        ("SQLite", sqlite.capabilities(&spec(&[]))),
        ("PostgreSQL", postgres.capabilities()),
        ("RabbitMQ, quorum", rabbitmq.capabilities(&spec(&[]))),
        ("RabbitMQ, classic", rabbitmq.capabilities(&spec(&[("queue-type", "classic")]))),
    ];
    let mut page = HEAD.to_owned();
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    writeln!(page, "| | {} |", names.join(" | ")).unwrap();
    writeln!(page, "| --- |{}", " --- |".repeat(columns.len())).unwrap();
    for (name, cell) in ROWS {
        let cells: Vec<_> = columns.iter().map(|(_, can)| cell(can)).collect();
        writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
    }
    page
}

type Row = (&'static str, fn(&Capabilities) -> String);

const ROWS: &[Row] = &[
    ("the strictest order", |can| ordering(can.ordering)),
    ("keys are locked, across crashes too", |can| raised(can.key_lock)),
    ("delayed messages", |can| delay(can.delay)),
    ("retry after a pause", |can| match can.delay {
        Some(_) => raised(can.delayed_retry),
        None => plain(can.delayed_retry),
    }),
    ("a delayed message is taken back", |can| plain(can.cancel_scheduled)),
    ("dead letters", |can| raised(can.dead_letter)),
    ("deliveries are counted", |can| deliveries(can.deliveries)),
    ("expiry", |can| raised(can.expiry)),
    ("filters: subjects", |can| raised(can.filters.subject)),
    ("filters: headers", |can| match can.filters.header_values {
        HeaderValues::TextAndBool if can.filters.headers.is_native() => {
            "text and booleans; the rest by the bus".to_owned()
        }
        _ => raised(can.filters.headers),
    }),
    ("filters: SQL", |can| raised(can.filters.sql)),
    ("priorities", |can| plain(can.priority)),
    ("maximum length", |can| length(can.length_max)),
    ("deduplication window", |can| plain(can.dedup)),
    ("one message of a key at a time", |can| plain(can.unique)),
    ("handled messages are kept", |can| plain(can.keep_completed)),
    ("dead letters are forgotten after a time", |can| plain(can.keep_dead)),
    ("ack, writes and messages in one transaction", |can| plain(can.shared_transaction)),
    ("a message is found by its id", |can| plain(can.random_access)),
    ("messages are looked at", |can| plain(can.peek)),
    ("temporary queues", |can| temporary(can.temporary_queues)),
    ("largest body", |can| bytes(can.body_bytes_max)),
    ("most headers", |can| bytes(can.header_bytes_max)),
    ("a delivery stays unsettled", |can| limit(can.hold_max)),
];

fn plain(support: Support) -> String {
    match support {
        Support::Native => "✓",
        Support::ByBus => "by the bus",
        Support::No => "–",
    }
    .to_owned()
}

/// What the engine does where the driver says no.
fn raised(support: Support) -> String {
    plain(if support == Support::No { Support::ByBus } else { support })
}

fn ordering(ordering: Ordering) -> String {
    match ordering {
        Ordering::None => "–",
        Ordering::PerKey => "by key",
        Ordering::PerQueue => "of the queue",
    }
    .to_owned()
}

fn delay(delay: Option<Delay>) -> String {
    match delay {
        None => "–".to_owned(),
        Some(Delay { resolution, max: None }) => format!("to {resolution:?}"),
        Some(Delay { resolution, max: Some(max) }) => {
            format!("to {resolution:?}, at most {} days", max.as_secs() / (24 * 60 * 60))
        }
    }
}

fn deliveries(count: DeliveryCount) -> String {
    match count {
        DeliveryCount::No => "–",
        DeliveryCount::Raw => "with returns",
        DeliveryCount::Unheard => "✓",
    }
    .to_owned()
}

fn length(limit: LengthLimit) -> String {
    match limit {
        LengthLimit::No => "–",
        LengthLimit::EachQueue => "each queue by itself",
        LengthLimit::Whole => "✓",
    }
    .to_owned()
}

fn temporary(queues: TemporaryQueues) -> String {
    if queues.is_offered() { "✓" } else { "–" }.to_owned()
}

fn bytes(bound: Option<u64>) -> String {
    bound.map_or_else(|| "any".to_owned(), |bytes| format!("{} KiB", bytes / 1024))
}

fn limit(bound: Option<Duration>) -> String {
    bound.map_or_else(
        || "as long as it takes".to_owned(),
        |time| format!("{} min", time.as_secs() / 60),
    )
}
