//! Ours: transactions of the program's own, or units of queued statements, and the bus's relay.

use super::way::Way;
use crate::latency::Latencies;
use crate::load::runtime;
use crate::message::{OrderPaid, OrderPlaced};
use crate::postgres::database::{DRAIN, Database, INSERT};
use crate::postgres::ours::connected;
use crate::postgres::pipeline::Writing;
use crate::rabbitmq::broker;
use crate::round::Run;
use crate::{Result, table};
use std::future::ready;
use tramline::postgres::{PostgresWriter, sqlx};
use tramline::{Bus, Endpoint, Failure, Postgres, RabbitMq};

/// Where the events go.
const PAID: &str = "bench-paid";

pub(in crate::postgres) fn ours(
    database: &Database,
    messages: u64,
    way: Way,
    writing: Writing,
) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        broker::gone(&broker::connect().await?, PAID).await?;
        let store = Postgres::connect(&database.url).await?;
        let latencies = Latencies::of(messages);
        let noted = latencies.clone();
        let paid = Endpoint::new(PAID).subscribe::<OrderPaid>().concurrency(100);
        let paid = paid.handle(move |OrderPaid(order): OrderPaid| {
            noted.note(&order);
            ready(())
        });
        let bus = Bus::builder(RabbitMq::connect(&broker::url()?).await?).store(store.clone());
        let bus = bus.endpoint(paid).start().await?;
        let writer = bus.store(&store);
        if let Writing::Connection = writing {
            connected(writer.pool()).await?;
        }
        let write = move |order: OrderPlaced| {
            let writer = writer.clone();
            async move {
                match writing {
                    Writing::Connection => in_a_transaction(&writer, order).await,
                    Writing::Queued => Ok(in_a_unit(&writer, order).await?),
                }
            }
        };
        let meter = database.meter();
        let run = way.run(&meter, messages, &latencies, write).await?;
        let _ = bus.drain(DRAIN).await?;
        table::came_again(latencies.done.again());
        Ok(run)
    })
}

async fn in_a_transaction(writer: &PostgresWriter, order: OrderPlaced) -> Result<()> {
    let mut transaction = writer.pool().begin().await?;
    sqlx::query(INSERT)
        .bind(order.order_id as i64)
        .bind(order.cents())
        .execute(&mut *transaction)
        .await?;
    writer.outbox(&mut transaction).publish(&OrderPaid(order)).await?;
    transaction.commit().await?;
    writer.committed();
    Ok(())
}

async fn in_a_unit(
    writer: &PostgresWriter,
    order: OrderPlaced,
) -> std::result::Result<(), Failure> {
    let mut unit = writer.begin();
    unit.write(INSERT, (order.order_id as i64, order.cents()))?;
    unit.publish(&OrderPaid(order))?;
    writer.commit(unit).await
}
