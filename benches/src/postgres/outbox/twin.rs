//! The twin: transactions of one round trip, and a plain relay that does one thing after the other.

use super::way::Way;
use crate::Result;
use crate::hand::Letter;
use crate::latency::Latencies;
use crate::load::runtime;
use crate::message::OrderPlaced;
use crate::postgres::database::{Database, INSERT};
use crate::rabbitmq::{broker, twin as by_hand};
use crate::round::Run;
use futures_util::future::try_join_all;
use futures_util::try_join;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_postgres::{Client, Statement};

/// Connections that write.
const WRITERS: usize = 16;
/// How many rows the relay takes at once.
const BATCH: i64 = 100;

pub(in crate::postgres) fn twin(database: &Database, messages: u64, way: Way) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        let table = "CREATE TABLE twin.outbox (LIKE tramline.outbox INCLUDING ALL)";
        database.connect().await?.batch_execute(table).await?;
        let broker = broker::connect().await?;
        broker::fresh(&broker, by_hand::QUEUE).await?;
        let (give_back, free) = mpsc::channel(WRITERS);
        for _ in 0..WRITERS {
            give_back.send(Writer::open(database).await?).await.map_err(|_| "nobody writes")?;
        }
        let (free, committed) = (Arc::new(Mutex::new(free)), Arc::new(Notify::new()));
        let relay = Relay::open(database, committed.clone()).await?;
        let relay = tokio::spawn(relay.run());
        let latencies = Latencies::of(messages);
        let noted = latencies.clone();
        let consumer = broker::connect().await?;
        let consumer = tokio::spawn(async move {
            let acks = by_hand::Acks::Together;
            by_hand::take(&consumer, messages, acks, move |order| noted.note(&order)).await
        });
        let write = move |order: OrderPlaced| {
            let (free, give_back, committed) = (free.clone(), give_back.clone(), committed.clone());
            async move {
                let writer = free.lock().await.recv().await.ok_or("a writer has failed")?;
                writer.write(order).await?;
                committed.notify_one();
                give_back.send(writer).await.map_err(|_| "nobody writes any more".into())
            }
        };
        let meter = database.meter();
        let run = way.run(&meter, messages, &latencies, write).await?;
        consumer.await??;
        // It waits for more.
        relay.abort();
        broker::purge(&broker, by_hand::QUEUE).await?;
        Ok(run)
    })
}

struct Writer {
    client: Client,
    insert: Statement,
    append: Statement,
}

impl Writer {
    async fn open(database: &Database) -> Result<Self> {
        const APPEND: &str = "INSERT INTO twin.outbox (hold_until, destination, envelope, body)
            VALUES (0, 'orders.paid', $1, $2)";
        let client = database.connect().await?;
        let (insert, append) = (client.prepare(INSERT).await?, client.prepare(APPEND).await?);
        Ok(Self { client, insert, append })
    }

    /// In one round trip.
    async fn write(&self, order: OrderPlaced) -> Result<()> {
        let Self { client, insert, append } = self;
        let Letter { envelope, body } = Letter::placed(&order)?;
        let (id, cents) = (order.order_id as i64, order.cents());
        try_join!(
            client.batch_execute("BEGIN"),
            async { client.execute(insert, &[&id, &cents]).await },
            async { client.execute(append, &[&envelope, &body]).await },
            client.batch_execute("COMMIT"),
        )?;
        Ok(())
    }
}

struct Relay {
    client: Client,
    take: Statement,
    delete: Statement,
    channel: lapin::Channel,
    committed: Arc<Notify>,
    // What the channel lives on.
    _broker: lapin::Connection,
}

impl Relay {
    async fn open(database: &Database, committed: Arc<Notify>) -> Result<Self> {
        const TAKE: &str = "SELECT id, body FROM twin.outbox ORDER BY id LIMIT $1
            FOR UPDATE SKIP LOCKED";
        const DELETE: &str = "DELETE FROM twin.outbox WHERE id = ANY ($1)";
        let client = database.connect().await?;
        // Otherwise the first plan, made for an empty table, sorts all of it.
        client.batch_execute("SET enable_seqscan = off; SET enable_sort = off").await?;
        let (take, delete) = (client.prepare(TAKE).await?, client.prepare(DELETE).await?);
        let broker = broker::connect().await?;
        let channel = broker::confirming(&broker).await?;
        Ok(Self { client, take, delete, channel, committed, _broker: broker })
    }

    async fn run(self) -> Result<()> {
        let Self { client, take, delete, channel, committed, _broker } = &self;
        loop {
            let take = async { client.query(take, &[&BATCH]).await };
            let ((), rows) = try_join!(client.batch_execute("BEGIN"), take)?;
            if rows.is_empty() {
                client.batch_execute("COMMIT").await?;
                committed.notified().await;
                continue;
            }
            let bodies = rows.iter().map(|row| row.get::<_, &[u8]>(1));
            try_join_all(bodies.map(|body| by_hand::put_body(channel, by_hand::QUEUE, body)))
                .await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let delete = async { client.execute(delete, &[&ids]).await };
            try_join!(delete, client.batch_execute("COMMIT"))?;
        }
    }
}
