//! SQLite keeps both contracts.

use std::sync::Mutex;
use tempfile::TempDir;
use tramline_conformance::{
    Note, StoreHarness, TransportHarness, Write, store_suite, transport_suite,
};
use tramline_core::Failure;
use tramline_core::name::QueueName;
use tramline_core::store::Store;
use tramline_sqlite::rusqlite::{Connection, params};
use tramline_sqlite::{Sqlite, SqliteTx};

/// A folder for each file, gone with the test.
#[derive(Default)]
struct Files(Mutex<Vec<TempDir>>);

impl Files {
    async fn fresh(&self) -> Sqlite {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus.db");
        self.0.lock().unwrap().push(folder);
        open(&path).await
    }
}

async fn open(path: impl AsRef<std::path::Path>) -> Sqlite {
    Sqlite::options(path.as_ref()).isolated().open().await.unwrap()
}

fn path(sqlite: &Sqlite) -> String {
    let database = Store::database(sqlite).to_string();
    database.strip_prefix("sqlite:").unwrap().to_owned()
}

impl TransportHarness for Files {
    type Transport = Sqlite;

    async fn fresh(&self) -> Sqlite {
        self.fresh().await
    }

    async fn other(&self, first: &Sqlite) -> Sqlite {
        open(path(first)).await
    }

    async fn end_leases(&self, holder: &Sqlite, _queue: &QueueName) {
        let path = path(holder);
        let connection = Connection::open(&path).unwrap();
        connection.busy_timeout(self.patience()).unwrap();
        connection.execute("UPDATE tramline_process SET lease_until = 0", []).unwrap();
        // Whoever opens the file takes back what was held for too long, before it is open.
        open(&path).await;
    }

    async fn restart(&self, transport: Sqlite) -> Option<Sqlite> {
        let path = path(&transport);
        drop(transport);
        Some(open(path).await)
    }
}

/// The same files, with a table of numbers.
#[derive(Default)]
struct Numbers(Files);

impl StoreHarness for Numbers {
    type Store = Sqlite;
    type Transport = Sqlite;

    async fn fresh(&self) -> Sqlite {
        let store = self.0.fresh().await;
        let create = "CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL)";
        store.write(move |db| Ok(db.execute(create, [])?)).await.unwrap();
        store
    }

    async fn other(&self, first: &Sqlite) -> Sqlite {
        open(path(first)).await
    }

    async fn transport(&self, store: &Sqlite) -> Option<Sqlite> {
        Some(store.clone())
    }

    async fn restart(&self, store: Sqlite) -> Option<Sqlite> {
        let path = path(&store);
        drop(store);
        Some(open(path).await)
    }

    async fn write(&self, tx: &mut SqliteTx, write: Write) -> Result<(), Failure> {
        const PUT: &str = "INSERT INTO numbers VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        const READ: &str = "SELECT value FROM numbers WHERE name = ?1";
        tx.write(move |db| match &write {
            Write::Put { name, value } => {
                db.execute(PUT, params![name, value])?;
                Ok(())
            }
            Write::Add { name, by } => {
                let is: Option<i64> = db.query_optional(READ, [name], |row| row.get(0))?;
                db.execute(PUT, params![name, is.unwrap_or(0) + by])?;
                Ok(())
            }
            Write::Publish(note) => db.publish(Note::draft(note)),
            Write::Send(queue, note) => db.send(queue.as_str(), Note::draft(note)),
            Write::Fail(text) => Err(Failure::permanent(text.clone())),
            Write::Panic => panic!("a handler's closure panics"),
        })
    }

    async fn read(&self, store: &Sqlite, name: &str) -> Option<i64> {
        let name = name.to_owned();
        let read = store.read(move |snapshot| {
            let sql = "SELECT value FROM numbers WHERE name = ?1";
            Ok(snapshot.query_optional(sql, [name], |row| row.get(0))?)
        });
        read.await.unwrap()
    }
}

mod transport {
    use super::*;
    transport_suite!(Files::default());
}

mod store {
    use super::*;
    store_suite!(Numbers::default());
}
