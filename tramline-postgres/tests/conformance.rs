//! PostgreSQL keeps both contracts, on a real server.

use std::time::Duration;
use tramline_conformance::{
    Note, StoreHarness, TransportHarness, Write, store_suite, transport_suite,
};
use tramline_core::Failure;
use tramline_core::name::QueueName;
use tramline_postgres::{Postgres, PostgresTx, sqlx};
use tramline_services::testing::Database;

/// A database for each test, gone with it.
struct Databases(Database);

impl Databases {
    /// Where there is no server, that was told, and there is nothing to ask.
    fn found() -> Option<Self> {
        Database::fresh().map(Self)
    }

    async fn open(&self) -> Postgres {
        Postgres::connect(self.0.url.as_str()).await.unwrap()
    }
}

impl TransportHarness for Databases {
    type Transport = Postgres;

    async fn fresh(&self) -> Postgres {
        self.open().await
    }

    async fn other(&self, _first: &Postgres) -> Postgres {
        self.open().await
    }

    async fn end_leases(&self, _holder: &Postgres, _queue: &QueueName) {
        self.0.sql(
            "UPDATE tramline.process SET lease_until = 0;
             SELECT tramline.take_back(tramline.clock())",
        );
    }

    async fn restart(&self, transport: Postgres) -> Option<Postgres> {
        drop(transport);
        Some(self.open().await)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// The same, with a table of numbers.
struct Numbers(Databases);

impl Numbers {
    fn found() -> Option<Self> {
        let databases = Databases::found()?;
        databases.0.sql("CREATE TABLE numbers (name text PRIMARY KEY, value bigint NOT NULL)");
        Some(Self(databases))
    }
}

impl StoreHarness for Numbers {
    type Store = Postgres;
    type Transport = Postgres;

    async fn fresh(&self) -> Postgres {
        self.0.open().await
    }

    async fn other(&self, _first: &Postgres) -> Postgres {
        self.0.open().await
    }

    async fn transport(&self, store: &Postgres) -> Option<Postgres> {
        Some(store.clone())
    }

    async fn restart(&self, store: Postgres) -> Option<Postgres> {
        drop(store);
        Some(self.0.open().await)
    }

    async fn write(&self, tx: &mut PostgresTx, write: Write) -> Result<(), Failure> {
        const PUT: &str = "INSERT INTO numbers VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        const ADD: &str = "INSERT INTO numbers AS n VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = n.value + excluded.value";
        match &write {
            Write::Put { name, value } => {
                let put = sqlx::query(PUT).bind(name).bind(value);
                put.execute(tx.connection().await?).await?;
            }
            Write::Add { name, by } => {
                let add = sqlx::query(ADD).bind(name).bind(by);
                add.execute(tx.connection().await?).await?;
            }
            Write::Publish(note) => tx.publish(Note::draft(note))?,
            Write::Send(queue, note) => tx.send(queue.as_str(), Note::draft(note))?,
            Write::Fail(text) => return Err(Failure::permanent(text.clone())),
            Write::Panic => return Err(Failure::retryable("a handler panics")),
        }
        Ok(())
    }

    async fn read(&self, store: &Postgres, name: &str) -> Option<i64> {
        let read = sqlx::query_scalar("SELECT value FROM numbers WHERE name = $1").bind(name);
        read.fetch_optional(store.pool()).await.unwrap()
    }
}

mod transport {
    use super::*;
    transport_suite!(match Databases::found() {
        Some(databases) => databases,
        None => return,
    });
}

mod store {
    use super::*;
    store_suite!(match Numbers::found() {
        Some(numbers) => numbers,
        None => return,
    });
}
