//! A handle on the tables.

use super::schema;
use crate::database::KnownOrder;
use crate::money::Money;
use crate::order::Order;
use jiff::civil::Date;
use tramline::core::store::Store;
use tramline::sqlite::Tally;
use tramline::sqlite::rusqlite::{self, Row, types::Type};
use tramline::{Failure, MessageId, Sqlite};

/// The business tables in one SQLite file. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(super) sqlite: Sqlite,
    /// The broker's file, where it is another.
    broker: Option<Sqlite>,
}

impl Database {
    /// Opens what `url` names and makes the tables that are not there.
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        let sqlite = Sqlite::from_url(url).await?;
        sqlite.write(schema::create).await?;
        Ok(Self { sqlite, broker: None })
    }

    /// These tables, with the broker that their orders go through, once and for all: what waits in
    /// one broker is not known to another, and what one has handled another would handle again.
    /// Answers the name of the broker that they are bound to, if it is a different one.
    pub(crate) async fn bind(mut self, broker: &str) -> Result<Result<Self, String>, Failure> {
        let name = if broker.starts_with("sqlite:") {
            let file = Sqlite::from_url(broker).await?;
            let (here, there) = (Store::database(&self.sqlite), Store::database(&file));
            self.broker = (there != here).then_some(file);
            if there == here { "the database itself".to_owned() } else { there.to_string() }
        } else {
            server(broker)
        };
        let asked = name.clone();
        let bind = move |db: &tramline::sqlite::Db<'_>| -> Result<String, Failure> {
            let sql = "INSERT INTO broker (id, name) VALUES (1, ?1) ON CONFLICT DO NOTHING";
            db.execute(sql, [&asked])?;
            Ok(db.query_row("SELECT name FROM broker", [], |row| row.get(0))?)
        };
        let bound = self.sqlite.write(bind).await?;
        Ok(if bound == name { Ok(self) } else { Err(bound) })
    }

    /// What the files of tables and broker have counted.
    pub(crate) async fn tally(&self) -> Result<Tally, Failure> {
        let mut tally = self.sqlite.tally().await?;
        if let Some(broker) = &self.broker {
            let more = broker.tally().await?;
            tally.redelivered += more.redelivered;
            tally.duplicates += more.duplicates;
        }
        Ok(tally)
    }

    pub(crate) fn store(&self) -> &Sqlite {
        &self.sqlite
    }

    /// The order with this id, if it was placed.
    pub(crate) async fn find(&self, order_id: i64) -> Result<Option<KnownOrder>, Failure> {
        const SQL: &str = "SELECT order_id, user_id, date, units, cents, event_id,
                EXISTS (SELECT 1 FROM ledger WHERE ledger.order_id = orders.order_id)
            FROM orders WHERE order_id = ?1";
        let find = move |snapshot: &tramline::sqlite::Snapshot<'_>| {
            Ok(snapshot.query_optional(SQL, [order_id], known_order)?)
        };
        self.sqlite.read(find).await
    }

    /// Every order that was placed.
    pub(crate) async fn orders(&self) -> Result<Vec<KnownOrder>, Failure> {
        const SQL: &str = "SELECT order_id, user_id, date, units, cents, event_id,
                EXISTS (SELECT 1 FROM ledger WHERE ledger.order_id = orders.order_id)
            FROM orders ORDER BY order_id";
        self.sqlite.read(|snapshot| Ok(snapshot.query_map(SQL, [], known_order)?)).await
    }
}

/// The server in a URL, without whoever connects to it: passwords change, and are not for tables.
pub(crate) fn server(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => url.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_where_it_is_and_not_by_who_connects() {
        for (url, name) in [
            ("amqp://u:p@broker:5672/shop?heartbeat=5", "amqp://broker:5672/shop"),
            ("amqps://broker/%2f", "amqps://broker/%2f"),
            ("memory:", "memory:"),
        ] {
            assert_eq!(server(url), name);
        }
    }
}
