//! Writes business rows, and publishes what they say in the same transaction.

use crate::dice::Dice;
use crate::servers::Placed;
use tokio_util::sync::CancellationToken;
use tramline::postgres::PostgresWriter;
use tramline::postgres::sqlx::postgres::PgPool;
use tramline::postgres::sqlx::{self, PgConnection, Postgres, Row, Transaction};
use tramline::{Draft, Message};

/// How many accounts there are; all writers write to all of them.
const ACCOUNTS: u64 = 24;
/// So many transactions in a hundred are rolled back, on purpose.
const ROLLED_BACK_PERCENT: u64 = 20;
/// Up to so many accounts in one transaction.
const ACCOUNTS_OF_ONE_MAX: u64 = 3;
const PAUSE_MILLIS_MAX: u64 = 30;

/// The tables of the writers. Who writes to an account has its row locked until he commits, so that
/// numbers grow with it in the order of the commits.
pub(crate) fn tables() -> String {
    format!(
        "CREATE TABLE account (key text PRIMARY KEY, bookings bigint NOT NULL);
         INSERT INTO account SELECT 'account-' || n, 0 FROM generate_series(0, {}) AS n;
         CREATE TABLE booking (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text)",
        ACCOUNTS - 1
    )
}

/// How a writer publishes.
pub(crate) enum By {
    /// `tramline.publish` in plain SQL.
    Sql,
    /// The outbox of a bus.
    Outbox(PostgresWriter),
}

/// Writes one transaction after the other.
pub(crate) struct Writer {
    pool: PgPool,
    by: By,
    dice: Dice,
}

impl Writer {
    pub(crate) fn new(pool: PgPool, by: By, seed: u64) -> Self {
        Self { pool, by, dice: Dice::new(seed) }
    }

    /// What fails is not in, and is not tried again.
    pub(crate) async fn write_until(mut self, stop: CancellationToken) -> Result<(), String> {
        while !stop.is_cancelled() {
            let written = self.write().await;
            written.map_err(|error| format!("failed to write: {error}"))?;
            tokio::time::sleep(self.dice.millis(0..PAUSE_MILLIS_MAX)).await;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), tramline::core::BoxError> {
        let mut transaction = self.pool.begin().await?;
        let mut accounts: Vec<u64> =
            (0..=self.dice.below(ACCOUNTS_OF_ONE_MAX)).map(|_| self.dice.below(ACCOUNTS)).collect();
        // In one order, so that no two wait for each other.
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            let key = format!("account-{account}");
            let number = book(&mut transaction, &key).await?;
            let placed = Placed { number, key, fails: 0, padding: String::new() };
            self.publish(&mut transaction, &placed).await?;
        }
        if self.dice.percent(ROLLED_BACK_PERCENT) {
            transaction.rollback().await?;
            return Ok(());
        }
        transaction.commit().await?;
        if let By::Outbox(writer) = &self.by {
            writer.committed();
        }
        Ok(())
    }

    async fn publish(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        placed: &Placed,
    ) -> Result<(), tramline::core::BoxError> {
        match &self.by {
            By::Sql => {
                sqlx::query("SELECT tramline.publish($1, $2::jsonb, key => $3)")
                    .bind(Placed::NAME)
                    .bind(serde_json::to_string(placed)?)
                    .bind(&placed.key)
                    .execute(&mut **transaction)
                    .await?;
                Ok(())
            }
            By::Outbox(writer) => {
                let draft = Draft::of(placed).key(placed.key.clone());
                Ok(writer.outbox(transaction).publish(draft).await?)
            }
        }
    }
}

/// Answers the number of the booking.
async fn book(connection: &mut PgConnection, key: &str) -> Result<u64, sqlx::Error> {
    let lock = "UPDATE account SET bookings = bookings + 1 WHERE key = $1";
    sqlx::query(lock).bind(key).execute(&mut *connection).await?;
    let insert = "INSERT INTO booking (key) VALUES ($1) RETURNING number";
    let row = sqlx::query(insert).bind(key).fetch_one(&mut *connection).await?;
    row.try_get::<i64, _>(0).map(i64::cast_unsigned)
}
