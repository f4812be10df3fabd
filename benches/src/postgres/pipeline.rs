//! The durable pipeline: the ack of a message, what its handler writes and the event that follows are one
//! transaction.

use super::database::{DRAIN, Database, INSERT, QUEUE};
use super::ours::connected;
use super::twin::{Consumer, Table, Taken, fill, queue};
use crate::Result;
use crate::completion::Completion;
use crate::hand::Letter;
use crate::load::runtime;
use crate::message::{OrderPaid, OrderPlaced};
use crate::round::Run;
use futures_util::try_join;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Statement};
use tramline::core::clock::{Clock, SystemClock};
use tramline::postgres::sqlx;
use tramline::{Bus, Endpoint, Failure, Postgres, State, Tx};

/// Handlers at once.
const CONCURRENCY: usize = 64;
/// Connections of the twin: as many as the store has for handlers.
const CONNECTIONS: usize = 32;

/// How the handler writes.
#[derive(Clone, Copy)]
pub(super) enum Writing {
    /// On the connection of its transaction.
    Connection,
    /// By statements that are queued, so that handlers share a commit.
    Queued,
}

pub(super) fn ours(database: &Database, messages: u64, writing: Writing) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        fill(database, Table::Ours, messages).await?;
        let postgres = Postgres::connect(&database.url).await?;
        if let Writing::Connection = writing {
            connected(postgres.pool()).await?;
        }
        let done = Completion::of(messages);
        let endpoint = Endpoint::new(QUEUE).subscribe::<OrderPlaced>();
        let endpoint = endpoint.concurrency(CONCURRENCY).transactional();
        let endpoint = match writing {
            Writing::Connection => endpoint.handle(charge),
            Writing::Queued => endpoint.handle(charge_queued),
        };
        let builder = Bus::builder(postgres.clone()).store(postgres).state(done.clone());
        let meter = database.meter();
        let bus = builder.endpoint(endpoint).start().await?;
        done.wait().await;
        // With the last transactions.
        let _ = bus.drain(DRAIN).await?;
        let run = meter.rate(messages);
        check(database, messages).await?;
        Ok(run)
    })
}

async fn charge(
    order: OrderPlaced,
    State(done): State<Completion>,
    mut tx: Tx<Postgres>,
) -> std::result::Result<(), Failure> {
    sqlx::query(INSERT)
        .bind(order.order_id as i64)
        .bind(order.cents())
        .execute(tx.connection().await?)
        .await?;
    let number = order.number();
    tx.publish(&OrderPaid(order))?;
    done.count(number);
    Ok(())
}

async fn charge_queued(
    order: OrderPlaced,
    State(done): State<Completion>,
    mut tx: Tx<Postgres>,
) -> std::result::Result<(), Failure> {
    tx.write(INSERT, (order.order_id as i64, order.cents()))?;
    let number = order.number();
    tx.publish(&OrderPaid(order))?;
    done.count(number);
    Ok(())
}

/// Each message was handled once, and all of it.
async fn check(database: &Database, messages: u64) -> Result<()> {
    const SQL: &str = "SELECT (SELECT count(*) FROM ledger), (SELECT count(DISTINCT order_id) FROM ledger),
        count(*) FILTER (WHERE queue = $1), count(*) FILTER (WHERE queue = $2) FROM tramline.message";
    let client = database.connect().await?;
    let (orders, receipts) = (queue(&client, false).await?, queue(&client, true).await?);
    let row = client.query_one(SQL, &[&orders, &receipts]).await?;
    let counted: [i64; 4] = std::array::from_fn(|column| row.get(column));
    let messages = messages as i64;
    if counted == [messages, messages, 0, messages] {
        return Ok(());
    }
    Err(format!(
        "of {messages} messages the handler's rows, orders, messages left and events: {counted:?}"
    )
    .into())
}

/// Each handler's transaction in two round trips: what it writes, and then everything else.
pub(super) fn twin(database: &Database, messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        fill(database, Table::Ours, messages).await?;
        const ACK: &str =
            "DELETE FROM tramline.message WHERE queue = $1 AND place = $2 AND epoch = 0";
        let (jobs, taken) = mpsc::channel::<Taken>(CONCURRENCY - CONNECTIONS);
        let taken = Arc::new(Mutex::new(taken));
        let mut hands = Vec::new();
        for _ in 0..CONNECTIONS {
            hands.push(Hand::open(database, INSERT, ACK).await?);
        }
        let meter = database.meter();
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for hand in hands {
            let taken = taken.clone();
            tasks.spawn(async move {
                loop {
                    let next = taken.lock().await.recv().await;
                    let Some(taken) = next else { return Ok(()) };
                    hand.handle(&taken).await?;
                }
            });
        }
        let mut consumer = Consumer::open(&database.url, Table::Ours).await?;
        let mut left = messages;
        while left > 0 {
            for taken in consumer.next().await? {
                left -= 1;
                jobs.send(taken).await?;
            }
        }
        drop(jobs);
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let run = meter.rate(messages);
        check(database, messages).await?;
        Ok(run)
    })
}

/// Of so many messages at once, each step is one statement, and all of them are one round trip.
pub(super) fn twin_together(database: &Database, messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        fill(database, Table::Ours, messages).await?;
        const INSERTS: &str = "INSERT INTO ledger (order_id, cents)
            SELECT * FROM unnest($1::bigint[], $2::bigint[])";
        const ACKS: &str =
            "DELETE FROM tramline.message WHERE queue = $1 AND place = ANY ($2) AND epoch = 0";
        let hand = Hand::open(database, INSERTS, ACKS).await?;
        hand.client.batch_execute("SET enable_seqscan = off").await?;
        let meter = database.meter();
        let mut consumer = Consumer::open(&database.url, Table::Ours).await?;
        let mut left = messages as usize;
        while left > 0 {
            let taken = consumer.next().await?;
            left -= taken.len();
            for group in taken.chunks(CONCURRENCY) {
                hand.handle_all(group).await?;
            }
        }
        let run = meter.rate(messages);
        check(database, messages).await?;
        Ok(run)
    })
}

/// A connection with its statements.
struct Hand {
    client: Client,
    insert: Statement,
    ack: Statement,
    put: Statement,
    queue: i32,
    next_queue: i32,
}

impl Hand {
    async fn open(database: &Database, insert: &str, ack: &str) -> Result<Self> {
        let client = database.connect().await?;
        Ok(Self {
            insert: client.prepare(insert).await?,
            ack: client.prepare(ack).await?,
            put: client.prepare(Table::Ours.insert()).await?,
            queue: queue(&client, false).await?,
            next_queue: queue(&client, true).await?,
            client,
        })
    }

    async fn handle(&self, taken: &Taken) -> Result<()> {
        let Self { client, insert, ack, put, queue, next_queue } = self;
        let (envelope, order) = taken.read()?;
        let (id, cents) = (order.order_id as i64, order.cents());
        // Requests leave in the order in which they are named, and nobody waits in between.
        let written = async { client.execute(insert, &[&id, &cents]).await };
        try_join!(client.batch_execute("BEGIN"), written)?;
        let event = Letter::paid(order, &envelope)?;
        let now = SystemClock.now().as_micros();
        let (envelopes, bodies) = (vec![&*event.envelope], vec![&*event.body]);
        let (gone, _, ()) = try_join!(
            async { client.execute(ack, &[queue, &taken.place]).await },
            async { client.execute(put, &[next_queue, &now, &envelopes, &bodies]).await },
            client.batch_execute("COMMIT"),
        )?;
        if gone == 1 { Ok(()) } else { Err("a message of the twin was gone".into()) }
    }

    /// All of these together.
    async fn handle_all(&self, taken: &[Taken]) -> Result<()> {
        let Self { client, insert, ack, put, queue, next_queue } = self;
        let (mut ids, mut cents, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for taken in taken {
            let (envelope, order) = taken.read()?;
            ids.push(order.order_id as i64);
            cents.push(order.cents());
            events.push(Letter::paid(order, &envelope)?);
        }
        let places: Vec<i64> = taken.iter().map(|taken| taken.place).collect();
        let envelopes: Vec<&str> = events.iter().map(|event| &*event.envelope).collect();
        let bodies: Vec<&[u8]> = events.iter().map(|event| &*event.body).collect();
        let now = SystemClock.now().as_micros();
        let (_, _, gone, _, ()) = try_join!(
            async { client.batch_execute("BEGIN").await },
            async { client.execute(insert, &[&ids, &cents]).await },
            async { client.execute(ack, &[queue, &places]).await },
            async { client.execute(put, &[next_queue, &now, &envelopes, &bodies]).await },
            client.batch_execute("COMMIT"),
        )?;
        if gone == taken.len() as u64 {
            Ok(())
        } else {
            Err("messages of the twin were gone".into())
        }
    }
}
