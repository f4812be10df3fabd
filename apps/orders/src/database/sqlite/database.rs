//! A handle on the tables.

use super::schema;
use crate::database::KnownOrder;
use crate::money::Money;
use crate::order::Order;
use jiff::civil::Date;
use tramline::core::store::Store;
use tramline::sqlite::rusqlite::{self, Row, types::Type};
use tramline::{Failure, MessageId, Sqlite};

/// The business tables in one SQLite file. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(super) sqlite: Sqlite,
}

impl Database {
    /// Opens what `url` names and makes the tables that are not there.
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        let sqlite = Sqlite::from_url(url).await?;
        sqlite.write(schema::create).await?;
        Ok(Self { sqlite })
    }

    /// The name of the broker that these tables are bound to: `broker`, if there was none before.
    pub(crate) async fn bind(&self, broker: &str) -> Result<String, Failure> {
        let broker = broker.to_owned();
        let bind = move |db: &tramline::sqlite::Db<'_>| {
            let sql = "INSERT INTO broker (id, name) VALUES (1, ?1) ON CONFLICT DO NOTHING";
            db.execute(sql, [&broker])?;
            Ok(db.query_row("SELECT name FROM broker", [], |row| row.get(0))?)
        };
        self.sqlite.write(bind).await
    }

    pub(crate) fn store(&self) -> &Sqlite {
        &self.sqlite
    }

    pub(crate) async fn units_left(&self) -> Result<i64, Failure> {
        const SQL: &str = "SELECT units_left FROM stock WHERE item = 'cd'";
        self.sqlite.read(|snapshot| Ok(snapshot.query_row(SQL, [], |row| row.get(0))?)).await
    }

    pub(crate) async fn outbox_depth(&self) -> Result<u64, Failure> {
        let (waiting, parked) = self.sqlite.outbox().depth().await?;
        Ok(waiting + parked)
    }

    pub(crate) async fn find(&self, order_id: i64) -> Result<Option<KnownOrder>, Failure> {
        const SQL: &str = "SELECT order_id, user_id, date, units, cents, event_id,
                EXISTS (SELECT 1 FROM ledger WHERE ledger.order_id = orders.order_id)
            FROM orders WHERE order_id = ?1";
        let find = move |snapshot: &tramline::sqlite::Snapshot<'_>| {
            Ok(snapshot.query_optional(SQL, [order_id], known_order)?)
        };
        self.sqlite.read(find).await
    }

    pub(crate) async fn orders(&self) -> Result<Vec<KnownOrder>, Failure> {
        const SQL: &str = "SELECT order_id, user_id, date, units, cents, event_id,
                EXISTS (SELECT 1 FROM ledger WHERE ledger.order_id = orders.order_id)
            FROM orders ORDER BY order_id";
        self.sqlite.read(|snapshot| Ok(snapshot.query_map(SQL, [], known_order)?)).await
    }
}

fn known_order(row: &Row<'_>) -> rusqlite::Result<KnownOrder> {
    let event_id: String = row.get(5)?;
    let event_id: MessageId = event_id.parse().map_err(|bad| unreadable(5, bad))?;
    Ok(KnownOrder { order: order(row)?, event_id, is_paid: row.get(6)? })
}

/// The order in the first five columns.
pub(super) fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let date: Date = row.get_ref(2)?.as_str()?.parse().map_err(|bad| unreadable(2, bad))?;
    Ok(Order {
        order_id: row.get(0)?,
        user_id: row.get(1)?,
        date,
        units: row.get(3)?,
        total: Money::of_cents(row.get(4)?),
    })
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
