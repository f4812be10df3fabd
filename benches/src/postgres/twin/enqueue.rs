//! Messages are sent.

use super::table::{Table, now, queue};
use super::writer::Writer;
use crate::Result;
use crate::hand::Letter;
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::postgres::database::Database;
use crate::round::Run;
use tokio::task::JoinSet;

/// One connection for all callers, which commits in groups.
pub(in crate::postgres) fn enqueue(
    database: &Database,
    messages: u64,
    callers: u64,
) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        let writer = Writer::open(&database.url, Table::Ours).await?;
        let meter = database.meter();
        call(callers, messages, move |number| {
            let writer = writer.clone();
            async move { writer.put(Letter::placed(&OrderPlaced::new(number))?).await }
        })
        .await?;
        Ok(meter.rate(messages))
    })
}

/// A connection for each caller, and an `INSERT` for each message.
pub(in crate::postgres) fn enqueue_each(
    database: &Database,
    messages: u64,
    callers: u64,
) -> Result<Run> {
    const INSERT: &str =
        "INSERT INTO tramline.message VALUES ($1, nextval('tramline.number'), 0, 0, 0,
        0, 0, $2, NULL, NULL, NULL, NULL, NULL, $3, $4)";
    runtime()?.block_on(async {
        database.prepare().await?;
        let mut connected = Vec::new();
        for _ in 0..callers {
            let client = database.connect().await?;
            let insert = client.prepare(INSERT).await?;
            connected.push((client, insert));
        }
        let queue = queue(&database.connect().await?, false).await?;
        let meter = database.meter();
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for (caller, (client, insert)) in connected.into_iter().enumerate() {
            tasks.spawn(async move {
                for number in (caller as u64..messages).step_by(callers as usize) {
                    let Letter { envelope, body } = Letter::placed(&OrderPlaced::new(number))?;
                    client.execute(&insert, &[&queue, &now(), &envelope, &body]).await?;
                }
                Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(meter.rate(messages))
    })
}
