//! The tables that the twin works with.

use crate::Result;
use crate::hand::Letter;
use crate::message::OrderPlaced;
use crate::postgres::database::{Database, NEXT_QUEUE, QUEUE};
use tokio_postgres::Client;
use tramline::core::clock::{Clock, SystemClock};

/// Where a backlog goes.
#[derive(Clone, Copy)]
pub(in crate::postgres) enum Table {
    /// The bus's own.
    Ours,
    /// The twin's: a column more, for its leases.
    Twins,
}

/// Inserts messages as ours does: `$1` is the queue, `$2` the time.
macro_rules! insert {
    ($table:literal, $more:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " SELECT $1, nextval('tramline.number'), 0, 0, 0, 0, 0, $2, NULL, NULL, NULL, NULL, NULL,
                 n.envelope, n.body",
            $more,
            " FROM unnest($3::text[], $4::bytea[]) AS n(envelope, body)"
        )
    };
}

impl Table {
    /// What inserts many messages: `$1` is the queue, `$2` the time, then envelopes and bodies.
    pub(in crate::postgres) fn insert(self) -> &'static str {
        match self {
            Self::Ours => insert!("tramline.message", ""),
            Self::Twins => insert!("twin.message", ", 0"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "tramline.message",
            Self::Twins => "twin.message",
        }
    }
}

/// Makes the twin's table: columns and index of ours, and one for the lease. Pages are half full, so that
/// a lease finds room beside its message and needs no entry in the index.
pub(in crate::postgres) async fn twin_table(client: &Client) -> Result<()> {
    let table = "CREATE TABLE twin.message (
            LIKE tramline.message INCLUDING ALL, lease_until bigint NOT NULL
        ) WITH (fillfactor = 50)";
    Ok(client.batch_execute(table).await?)
}

/// The number of the queue of orders, or of the next one.
pub(in crate::postgres) async fn queue(client: &Client, is_next: bool) -> Result<i32> {
    let name = if is_next { NEXT_QUEUE } else { QUEUE };
    let row = client.query_one("SELECT id FROM tramline.queue WHERE name = $1", &[&name]).await?;
    Ok(row.get(0))
}

/// Puts a backlog into the queue of orders, as it is after a while: vacuumed, and on the disk.
pub(in crate::postgres) async fn fill(
    database: &Database,
    table: Table,
    messages: u64,
) -> Result<()> {
    const AT_ONCE: u64 = 5_000;
    let client = database.connect().await?;
    let queue = queue(&client, false).await?;
    client.batch_execute("SET synchronous_commit = off").await?;
    let insert = client.prepare(table.insert()).await?;
    for first in (0..messages).step_by(AT_ONCE as usize) {
        let orders = (first..messages.min(first + AT_ONCE)).map(OrderPlaced::new);
        let letters = orders.map(|order| Letter::placed(&order)).collect::<Result<Vec<_>>>()?;
        let envelopes: Vec<&str> = letters.iter().map(|letter| &*letter.envelope).collect();
        let bodies: Vec<&[u8]> = letters.iter().map(|letter| &*letter.body).collect();
        client.execute(&insert, &[&queue, &now(), &envelopes, &bodies]).await?;
    }
    client.batch_execute(&format!("VACUUM (ANALYZE) {}", table.name())).await?;
    database.settle(&client).await
}

pub(super) fn now() -> i64 {
    SystemClock.now().as_micros()
}
