//! Batches: readings of one meter are written together, a bad one is put aside by itself, and what came twice is
//! written once.
//!
//! `cargo run -p tramline --example 16-batches`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::sqlite::Sqlite;
use tramline::{BatchOutcome, Bus, Draft, Endpoint, Failure, Item, Message, State, Tx};

#[derive(Serialize, Deserialize)]
struct Reading {
    meter: u32,
    kwh: f64,
}

impl Message for Reading {
    const NAME: &'static str = "readings";
}

/// Each batch is of one meter, and one transaction: rows, acks, and what tells duplicates.
async fn keep(
    items: Vec<Item<Reading>>,
    tx: Tx<Sqlite>,
    State(told): State<mpsc::Sender<usize>>,
) -> Result<BatchOutcome, Failure> {
    let mut outcome = BatchOutcome::ok();
    for item in &items {
        if item.message.kwh < 0.0 {
            // To the dead letters, alone. The others run again without it, and then all of them are in.
            outcome.fail(item, Failure::permanent("a meter does not run backwards"));
        }
    }
    let rows: Vec<_> = items.iter().map(|item| (item.message.meter, item.message.kwh)).collect();
    told.send(rows.len()).await?;
    tx.write(move |db| {
        for (meter, kwh) in &rows {
            db.execute("INSERT INTO readings VALUES (?, ?)", (meter, kwh))?;
        }
        Ok(())
    })?;
    Ok(outcome)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Sqlite::open(folder.path().join("meters.db")).await?;
    let (told, mut runs) = mpsc::channel::<usize>(10);
    let endpoint = Endpoint::new("meters").transactional().concurrency(1);
    let endpoint = endpoint.batch(100, Duration::from_millis(100)).batch_per_key();
    let bus = Bus::builder(store.clone()).store(store.clone()).state(told);
    let bus = bus.endpoint(endpoint.handle_batch(keep)).start().await?;
    let writer = bus.store(&store);
    writer
        .write(|db| Ok(db.execute("CREATE TABLE readings (meter INTEGER, kwh REAL)", ())?))
        .await?;

    let readings = [(1, 4.2), (2, 1.0), (1, 4.4), (2, -3.0), (2, 1.5), (1, 4.4)];
    let readings = readings.map(|(meter, kwh)| Reading { meter, kwh });
    let drafts = readings.iter().map(|reading| {
        let (meter, kwh) = (reading.meter, reading.kwh);
        Draft::of(reading).key(format!("meter {meter}")).idempotency_key(format!("{meter} {kwh}"))
    });
    bus.send_all("meters", drafts).await.into_iter().collect::<Result<Vec<_>, _>>()?;

    for expected in ["meter 1, and no reading twice", "meter 2", "meter 2 without the bad one"] {
        println!("{} readings: {expected}", runs.recv().await.unwrap_or_default());
    }
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
