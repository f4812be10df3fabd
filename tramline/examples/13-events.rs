//! Domain events: who places an order need not know who cares. Their handlers work in its transaction, and one
//! line takes the event to other processes.
//!
//! `cargo run -p tramline --example 13-events`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::events::Event;
use tramline::sqlite::Sqlite;
use tramline::{Bus, Endpoint, Failure, Message, State, Tx};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
    cents: i64,
}

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

/// Runs in the transaction in which the order is placed.
async fn reserve(order: OrderPlaced, tx: Tx<Sqlite>) -> Result<(), Failure> {
    if order.cents <= 0 {
        return Err(Failure::permanent("nothing to reserve for"));
    }
    tx.write(move |db| {
        db.execute("INSERT INTO reservations VALUES (?)", [order.id as i64])?;
        Ok(())
    })
}

/// Runs wherever somebody subscribes to it.
async fn mail(order: OrderPlaced, State(told): State<mpsc::Sender<String>>) -> Result<(), Failure> {
    Ok(told.send(format!("mail about order {}", order.id)).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Sqlite::open(folder.path().join("orders.db")).await?;
    let (told, mut mails) = mpsc::channel::<String>(10);
    let bus = Bus::builder(store.clone())
        .store(store.clone())
        .state(told)
        .event(Event::new().handle(reserve).forward())
        .endpoint(Endpoint::new("mail").subscribe::<OrderPlaced>().handle(mail))
        .start()
        .await?;
    let writer = bus.store(&store);
    writer.write(|db| Ok(db.execute("CREATE TABLE reservations (id INTEGER)", ())?)).await?;

    // A transaction of the event's own, reservation and message together:
    bus.events().publish(&OrderPlaced { id: 1, cents: 4200 }).await?;
    println!("{}", mails.recv().await.unwrap_or_default());

    // In a transaction of the caller's, which writes itself:
    let mut work = bus.begin(&store).await?;
    work.write(|db| Ok(db.execute("CREATE TABLE orders (id INTEGER)", ()).map(drop)?))?;
    bus.events().publish_in(&mut work, &OrderPlaced { id: 2, cents: 100 }).await?;
    work.commit().await?;
    println!("{}", mails.recv().await.unwrap_or_default());

    // A handler that fails takes everything with it: nothing is reserved, and nobody gets mail.
    let failure = bus.events().publish(&OrderPlaced { id: 3, cents: 0 }).await.unwrap_err();
    println!("{failure}");
    let count = "SELECT count(*) FROM reservations";
    let reserved: i64 = writer.read(|db| Ok(db.query_row(count, (), |row| row.get(0))?)).await?;
    println!("{reserved} reserved");
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
