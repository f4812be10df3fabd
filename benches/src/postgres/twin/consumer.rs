//! Takes messages, a task for each, and acks what is done, together.

use super::table::{Table, fill, now, queue, twin_table};
use crate::Result;
use crate::load::runtime;
use crate::message::OrderPlaced;
use crate::postgres::database::{Database, connect};
use crate::round::Run;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::{Client, Row, Statement};
use tramline::Envelope;

/// How many messages are taken at once, and how many may be unsettled.
const CLAIM: i64 = 1000;
const UNSETTLED_MAX: usize = 2 * CLAIM as usize;
/// How many acks one commit takes.
const ACKS_MAX: usize = 4000;
const LEASE: Duration = Duration::from_secs(30);
/// When to look again, if nothing was found.
const LOOK: Duration = Duration::from_millis(1);

pub(in crate::postgres) fn consume(
    database: &Database,
    messages: u64,
    concurrency: usize,
) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        twin_table(&database.connect().await?).await?;
        fill(database, Table::Twins, messages).await?;
        let meter = database.meter();
        work(&database.url, messages, concurrency, |order| drop(black_box(order))).await?;
        Ok(meter.rate(messages))
    })
}

/// Handles and acks `messages`, so many at once.
pub(in crate::postgres) async fn work(
    url: &str,
    messages: u64,
    concurrency: usize,
    handle: impl Fn(OrderPlaced) + Clone + Send + 'static,
) -> Result<()> {
    let mut consumer = Consumer::open(url, Table::Twins).await?;
    let acks = acker(url).await?;
    let slots = Arc::new(Semaphore::new(concurrency));
    let unsettled = Arc::new(Semaphore::new(UNSETTLED_MAX));
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    let mut taken_ever = 0;
    while taken_ever < messages {
        for taken in consumer.next().await? {
            taken_ever += 1;
            let slot = slots.clone().acquire_owned().await?;
            let place = unsettled.clone().acquire_owned().await?;
            let (handle, acks) = (handle.clone(), acks.clone());
            tasks.spawn(async move {
                let (envelope, order) = taken.read()?;
                black_box(envelope);
                handle(order);
                drop(slot);
                let (reply, acked) = oneshot::channel();
                acks.send((taken.place, reply)).map_err(|_| "the twin's acker has ended")?;
                acked.await?;
                drop(place);
                Ok(())
            });
            while let Some(ended) = tasks.try_join_next() {
                ended??;
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// A message that was taken.
pub(in crate::postgres) struct Taken {
    pub(in crate::postgres) place: i64,
    row: Row,
}

impl Taken {
    pub(in crate::postgres) fn read(&self) -> Result<(Envelope, OrderPlaced)> {
        Ok((serde_json::from_str(self.row.get(1))?, serde_json::from_slice(self.row.get(2))?))
    }
}

/// Takes from the queue of orders, one claim ahead of those who work.
pub(in crate::postgres) struct Consumer {
    claims: mpsc::Receiver<Result<Vec<Taken>>>,
}

impl Consumer {
    pub(in crate::postgres) async fn open(url: &str, table: Table) -> Result<Self> {
        // A claim by a lease in the row; of our table, which has none, whatever follows the last one.
        const LEASED: &str = "UPDATE twin.message m SET lease_until = $2
            FROM (SELECT place FROM twin.message
                WHERE queue = $1 AND lease_until < $3 ORDER BY place LIMIT $4 FOR UPDATE SKIP LOCKED
            ) AS head WHERE m.queue = $1 AND m.place = head.place
            RETURNING m.place, m.envelope, m.body";
        const FOLLOWING: &str = "SELECT place, envelope, body FROM tramline.message
            WHERE queue = $1 AND place > $2 AND $3::bigint > 0 ORDER BY place LIMIT $4";
        let client = connect(url).await?;
        // A server that forgets a lease in a crash gives the message to another one too. Plans that were
        // made for an empty table would read all of it.
        let settings = "SET synchronous_commit = off; SET enable_seqscan = off;
            SET enable_hashjoin = off; SET enable_mergejoin = off";
        client.batch_execute(settings).await?;
        let queue = queue(&client, false).await?;
        let sql = match table {
            Table::Ours => FOLLOWING,
            Table::Twins => LEASED,
        };
        let claim = client.prepare(sql).await?;
        let (sender, claims) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut last = i64::MIN;
            loop {
                let until = now() + LEASE.as_micros() as i64;
                let bound = match table {
                    Table::Ours => last,
                    Table::Twins => until,
                };
                let taken = take(&client, &claim, queue, bound).await;
                let is_failed = taken.is_err();
                match taken {
                    Ok(taken) if taken.is_empty() => sleep(LOOK).await,
                    taken => {
                        if let Ok(Some(taken)) = taken.as_ref().map(|taken| taken.last()) {
                            last = taken.place;
                        }
                        if sender.send(taken).await.is_err() || is_failed {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Self { claims })
    }

    /// At least one message.
    pub(in crate::postgres) async fn next(&mut self) -> Result<Vec<Taken>> {
        self.claims.recv().await.ok_or("the twin's consumer has ended")?
    }
}

async fn take(client: &Client, claim: &Statement, queue: i32, bound: i64) -> Result<Vec<Taken>> {
    let rows = client.query(claim, &[&queue, &bound, &now(), &CLAIM]).await?;
    Ok(rows.into_iter().map(|row| Taken { place: row.get(0), row }).collect())
}

type Ack = (i64, oneshot::Sender<()>);

/// Acks whatever waits, and answers when it is on the disk.
async fn acker(url: &str) -> Result<mpsc::UnboundedSender<Ack>> {
    const DELETE: &str = "DELETE FROM twin.message WHERE queue = $1 AND place = ANY ($2)";
    let client = connect(url).await?;
    client.batch_execute("SET enable_seqscan = off").await?;
    let queue = queue(&client, false).await?;
    let delete = client.prepare(DELETE).await?;
    let (sender, mut acks) = mpsc::unbounded_channel::<Ack>();
    tokio::spawn(async move {
        let mut group = Vec::with_capacity(ACKS_MAX);
        while acks.recv_many(&mut group, ACKS_MAX).await > 0 {
            let places: Vec<i64> = group.iter().map(|(place, _)| *place).collect();
            let gone = client.execute(&delete, &[&queue, &places]).await?;
            if gone != places.len() as u64 {
                return Err("a lease of the twin was lost".into());
            }
            for (_, reply) in group.drain(..) {
                // Who does not wait any more has ended with an error of its own.
                let _ = reply.send(());
            }
        }
        crate::Result::Ok(())
    });
    Ok(sender)
}
