//! What these tests are written with.

use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::envelope::{Envelope, Text};
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Transport,
};
use tramline_sqlite::{Sqlite, SqliteDelivery, SqliteOptions, SqliteReceiver};

/// How long what must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A place for a file, gone with the test.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("bus.db")
    }

    /// Options to open the file with as another process would.
    pub(crate) fn isolated(&self) -> SqliteOptions {
        Sqlite::options(self.path()).isolated()
    }

    /// The file with the queue `work` and a table of numbers.
    pub(crate) async fn open(&self) -> Sqlite {
        let sqlite = self.isolated().open().await.unwrap();
        declare(&sqlite).await;
        let create = "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY)";
        sqlite.write(move |db| Ok(db.execute(create, [])?)).await.unwrap();
        sqlite
    }
}

pub(crate) fn work() -> QueueName {
    QueueName::new("work").unwrap()
}

pub(crate) async fn declare(sqlite: &Sqlite) {
    let topology = Topology { queues: vec![QueueSpec::new(work())], ..Topology::default() };
    sqlite.declare(&topology).await.unwrap();
}

/// The file with the queue `work` as `wish` makes it.
pub(crate) async fn declare_as(sqlite: &Sqlite, wish: impl FnOnce(&mut QueueSpec)) {
    let mut spec = QueueSpec::new(work());
    wish(&mut spec);
    let topology = Topology { queues: vec![spec], ..Topology::default() };
    sqlite.declare(&topology).await.unwrap();
}

/// Sends one message as `change` makes it. Answers what the file says.
pub(crate) async fn offer(sqlite: &Sqlite, id: &str, change: impl FnOnce(&mut Outgoing)) -> Sent {
    let mut outgoing = message(id);
    change(&mut outgoing);
    // Far behind whatever a test's clock shows.
    let deadline = Deadline::after(SystemClock.now(), 1000 * DAY);
    let sent = sqlite.sender().await.unwrap().send(&[outgoing], deadline).await;
    sent.into_iter().next().unwrap()
}

/// Sends a message under a key.
pub(crate) async fn send_keyed(sqlite: &Sqlite, id: &str, key: &str) {
    let keyed = |outgoing: &mut Outgoing| {
        Arc::make_mut(&mut outgoing.envelope).key = Some(key.to_owned());
    };
    offer(sqlite, id, keyed).await.into_result().unwrap();
}

/// Sends messages with these ids to `work`.
pub(crate) async fn send<I: ToString>(sqlite: &Sqlite, ids: impl IntoIterator<Item = I>) {
    let batch: Vec<Outgoing> = ids.into_iter().map(|id| message(&id.to_string())).collect();
    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    for sent in sqlite.sender().await.unwrap().send(&batch, deadline).await {
        sent.into_result().unwrap();
    }
}

pub(crate) fn message(id: &str) -> Outgoing {
    let envelope = Envelope {
        id: Some(id.parse().unwrap()),
        name: Some(Text::Borrowed("test.noted")),
        body: Bytes::from_static(b"{}"),
        ..Envelope::default()
    };
    Outgoing {
        to: Destination::Queue(QueueRef::Main(work())),
        envelope: Arc::new(envelope),
        due: None,
        copy: None,
    }
}

pub(crate) async fn receiver(sqlite: &Sqlite, prefetch: u32) -> SqliteReceiver {
    sqlite.receiver(&Source::of(QueueRef::Main(work()), prefetch)).await.unwrap()
}

/// When what must happen has happened.
pub(crate) fn soon() -> Deadline {
    Deadline::after(SystemClock.now(), PATIENCE)
}

/// The next delivery, which must come.
pub(crate) async fn next(receiver: &mut SqliteReceiver) -> SqliteDelivery {
    within(receiver.next()).await.unwrap().unwrap()
}

pub(crate) fn id(delivery: &impl Delivery) -> String {
    delivery.envelope().id.as_ref().unwrap().to_string()
}

/// What must come to its end.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Asks again and again until the answer is as it must be.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    within(async {
        loop {
            let answer = ask().await;
            if is_so(&answer) {
                return answer;
            }
        }
    })
    .await
}

/// The numbers that were written.
pub(crate) async fn numbers(sqlite: &Sqlite) -> Vec<i64> {
    let read = sqlite.read(|snapshot| {
        Ok(snapshot.query_map("SELECT n FROM numbers ORDER BY n", [], |row| row.get(0))?)
    });
    read.await.unwrap()
}

/// Writes one number.
pub(crate) async fn put(sqlite: &Sqlite, n: i64) {
    let insert = move |db: &tramline_sqlite::Db<'_>| {
        db.execute("INSERT INTO numbers VALUES (?1)", [n])?;
        Ok(())
    };
    sqlite.write(insert).await.unwrap();
}
