//! Ours: a transactional endpoint.

use super::cases::{Came, IN_FLIGHT, INSERT};
use crate::Result;
use crate::completion::Completion;
use crate::folder::{file, folder};
use crate::hand::{QUEUE, fill, prepare};
use crate::load::runtime;
use crate::message::{OrderPaid, OrderPlaced};
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use std::time::Duration;
use tramline::{Bus, Endpoint, Failure, Sqlite, State, Tx};

pub(super) fn handle(messages: u64, came: Came) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        fill(&file(&folder), messages, came.flags())?;
        let sqlite = Sqlite::open(file(&folder)).await?;
        let watch = Stopwatch::start();
        let done = Completion::of(messages);
        let bus = Bus::builder(sqlite.clone())
            .store(sqlite)
            .state(done.clone())
            .endpoint(
                Endpoint::new(QUEUE)
                    .subscribe::<OrderPlaced>()
                    .concurrency(IN_FLIGHT)
                    .transactional()
                    .handle(charge),
            )
            .start()
            .await?;
        done.wait().await;
        let _ = bus.drain(Duration::from_secs(60)).await?;
        Ok(watch.rate(messages))
    })
}

async fn charge(
    order: OrderPlaced,
    State(done): State<Completion>,
    tx: Tx<Sqlite>,
) -> std::result::Result<(), Failure> {
    let number = order.number();
    tx.write(move |db| {
        db.execute(INSERT, (order.order_id as i64, order.cents()))?;
        db.publish(&OrderPaid(order.clone()))
    })?;
    done.count(number);
    Ok(())
}
