//! Two buses in one process: what the shop publishes in memory goes on to the file of the warehouse, and counts once.
//!
//! `cargo run -p tramline --example 17-bridge`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::sqlite::Sqlite;
use tramline::{Bridge, Bus, Endpoint, Failure, Filter, Message, MessageId, State, Tx};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order: i64,
}

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

/// On the other side, with an inbox that knows what it has handled.
async fn pick(
    placed: OrderPlaced,
    id: MessageId,
    tx: Tx<Sqlite>,
    State(told): State<mpsc::Sender<MessageId>>,
) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute("INSERT INTO picks VALUES (?)", [placed.order])?;
        Ok(())
    })?;
    Ok(told.send(id).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Sqlite::open(folder.path().join("warehouse.db")).await?;
    let (told, mut picked) = mpsc::channel::<MessageId>(10);
    let picks = Endpoint::new("picks").subscribe::<OrderPlaced>().transactional().handle(pick);
    let warehouse = Bus::builder(store.clone()).store(store.clone()).state(told);
    let warehouse = warehouse.endpoint(picks).start().await?;
    let writer = warehouse.store(&store);
    writer.write(|db| Ok(db.execute("CREATE TABLE picks (number INTEGER)", ())?)).await?;

    // Whatever is published on this topic, of any type: nobody here reads it.
    let topic = OrderPlaced::topic();
    let out = Endpoint::new("to-warehouse").subscribe_to(topic, "#", Filter::All);
    let out = out.bridge(Bridge::to_topic(&warehouse, topic));
    let shop = Bus::connect("memory:").await?.endpoint(out).start().await?;

    // The second is the first again, as after a crash between the forwarding and the ack.
    let first = shop.publish(&OrderPlaced { order: 7 }).await?;
    shop.publish(&OrderPlaced { order: 7 }).id(first.id.clone()).await?;
    shop.publish(&OrderPlaced { order: 8 }).await?;
    println!("{} is picked under the same id", picked.recv().await.unwrap_or(first.id));

    // First this side, so that nothing is forwarded to a bus that is closed.
    let _drained = shop.drain(Duration::from_secs(5)).await?;
    let _drained = warehouse.drain(Duration::from_secs(5)).await?;
    Ok(())
}
