//! The durable pipeline: a message comes from the broker, its effects and the event that follows are
//! one transaction on a SQLite file, and the event goes to the broker.

use super::broker;
use super::ours::QUEUE;
use super::twin;
use crate::Result;
use crate::completion::Completion;
use crate::folder::{file, folder};
use crate::load::runtime;
use crate::message::{OrderPaid, OrderPlaced};
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use crate::store::{INSERT, TABLE};
use crate::table;
use std::time::Duration;
use tramline::{Bus, Endpoint, Failure, RabbitMq, Sqlite, State, Tx};

/// Handlers at once: they wait for commits that they share.
const CONCURRENCY: usize = 512;
/// Where the events go.
const PAID: &str = "bench-paid";

pub(super) fn run(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        let connection = broker::connect().await?;
        broker::gone(&connection, QUEUE).await?;
        broker::gone(&connection, PAID).await?;
        let store = Sqlite::open(file(&folder)).await?;
        store.write(|db| Ok(db.execute(TABLE, ())?)).await?;
        let bus = start(&store, Completion::of(0)).await?;
        let _ = bus.drain(Duration::from_secs(60)).await?;
        twin::fill(QUEUE, messages).await?;
        let done = Completion::of(messages);
        let watch = Stopwatch::start();
        let bus = start(&store, done.clone()).await?;
        // The event of the last message has come back from the broker.
        done.wait().await;
        let run = watch.rate(messages);
        let _ = bus.drain(Duration::from_secs(60)).await?;
        table::came_again(done.again());
        Ok(run)
    })
}

async fn start(store: &Sqlite, done: Completion) -> Result<Bus> {
    let charging = Endpoint::new(QUEUE).concurrency(CONCURRENCY).transactional().handle(charge);
    let paid = Endpoint::new(PAID).subscribe::<OrderPaid>().concurrency(100).handle(count);
    let bus = Bus::builder(RabbitMq::connect(&broker::url()?).await?).store(store.clone());
    Ok(bus.state(done).endpoint(charging).endpoint(paid).start().await?)
}

async fn charge(order: OrderPlaced, tx: Tx<Sqlite>) -> std::result::Result<(), Failure> {
    tx.write(move |db| {
        db.execute(INSERT, (order.order_id as i64, order.cents()))?;
        db.publish(&OrderPaid(order.clone()))
    })
}

async fn count(OrderPaid(order): OrderPaid, State(done): State<Completion>) {
    done.count(order.number());
}
