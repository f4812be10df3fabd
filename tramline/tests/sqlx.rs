//! Messages in the user's own transactions of `sqlx`.

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::core::store::Store;
use tramline::memory::Memory;
use tramline::sqlite::sqlx::sqlite::SqliteConnectOptions;
use tramline::sqlite::sqlx::{self, SqlitePool};
use tramline::{Bus, Draft, Endpoint, ErrorKind, Failure, Message, MessageId, Sqlite, State};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: i64,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

type Seen = mpsc::Sender<(i64, MessageId)>;

async fn note(order: OrderPlaced, id: MessageId, State(seen): State<Seen>) -> Result<(), Failure> {
    Ok(seen.send((order.order_id, id)).await?)
}

struct Shop {
    store: Sqlite,
    pool: SqlitePool,
    bus: Bus,
    seen: mpsc::Receiver<(i64, MessageId)>,
}

impl Shop {
    /// A shop whose tables are in `file`, and whose bus is there too or elsewhere.
    async fn open(file: &Path, elsewhere: bool) -> Self {
        let store = Sqlite::open(file).await.unwrap();
        let (sender, seen) = mpsc::channel(100);
        let endpoint = Endpoint::new("mail").subscribe::<OrderPlaced>().handle(note);
        let bus = if elsewhere {
            let bus = Bus::builder(Memory::new()).state(sender).store(store.clone());
            bus.endpoint(endpoint).start().await.unwrap()
        } else {
            let bus = Bus::builder(store.clone()).state(sender).store(store.clone());
            bus.endpoint(endpoint).start().await.unwrap()
        };
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file));
        let pool = pool.await.unwrap();
        let create = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)";
        sqlx::query(create).execute(&pool).await.unwrap();
        Self { store, pool, bus, seen }
    }

    async fn place(&self, order_id: i64) -> sqlx::Transaction<'static, sqlx::Sqlite> {
        let mut transaction = self.pool.begin().await.unwrap();
        let insert = sqlx::query("INSERT INTO orders VALUES (?1)").bind(order_id);
        insert.execute(&mut *transaction).await.unwrap();
        let writer = self.bus.store(&self.store);
        let mut outbox = writer.outbox(&mut transaction).await.unwrap();
        outbox.publish(&OrderPlaced { order_id }).await.unwrap();
        transaction
    }

    async fn next(&mut self) -> i64 {
        let next = tokio::time::timeout(Duration::from_secs(20), self.seen.recv());
        next.await.expect("nothing arrives").expect("the bus is gone").0
    }
}

/// Runs `test` with the bus on the same file as the tables, and with the bus elsewhere.
async fn on_both(test: impl AsyncFn(Shop)) {
    for elsewhere in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        test(Shop::open(&folder.path().join("shop.db"), elsewhere).await).await;
    }
}

#[tokio::test]
async fn what_a_transaction_of_sqlx_publishes_leaves_when_it_commits() {
    on_both(async |mut shop| {
        shop.place(1).await.commit().await.unwrap();
        // Nobody is told: the relay finds it by looking.
        assert_eq!(shop.next().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_is_told_of_a_commit_need_not_wait_until_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("shop.db")).await.unwrap();
    let bus = Bus::builder(Memory::new()).start().await.unwrap();
    let writer = bus.store(&store);
    // Whoever listens for the first time is written down as a relay, which takes a moment.
    writer.committed();
    store.outbox().appended().await;
    // The file itself rings too, when its watch sees a change.
    while store.outbox().appended().now_or_never().is_some() {}
    writer.committed();
    assert!(store.outbox().appended().now_or_never().is_some());
}

#[tokio::test]
async fn what_is_rolled_back_never_leaves() {
    on_both(async |mut shop| {
        shop.place(1).await.rollback().await.unwrap();
        shop.place(2).await.commit().await.unwrap();
        assert_eq!(shop.next().await, 2, "the first that arrives");
    })
    .await;
}

#[tokio::test]
async fn options_of_a_message_and_commands_are_kept() {
    on_both(async |mut shop| {
        let mut transaction = shop.pool.begin().await.unwrap();
        let writer = shop.bus.store(&shop.store);
        let mut outbox = writer.outbox(&mut transaction).await.unwrap();
        let id = "order-7".parse::<MessageId>().unwrap();
        let order = OrderPlaced { order_id: 7 };
        outbox.send("mail", Draft::of(&order).id(id.clone()).key("7")).await.unwrap();
        transaction.commit().await.unwrap();
        writer.committed();
        let (order_id, seen) = shop.seen.recv().await.unwrap();
        assert_eq!((order_id, seen), (7, id));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_on_another_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::open(&folder.path().join("shop.db"), false).await;
    let other = SqliteConnectOptions::new()
        .filename(folder.path().join("other.db"))
        .create_if_missing(true);
    let other = SqlitePool::connect_with(other).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    let refused = shop.bus.store(&shop.store).outbox(&mut transaction).await.map(drop);
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let text = error.to_string();
    assert!(text.contains("other.db") && text.contains("shop.db"), "{text}");
}

#[tokio::test]
async fn an_older_program_appends_nothing_to_a_file_that_a_newer_one_has_migrated() {
    // Its tables may be as they were, or not.
    for change in ["", "ALTER TABLE tramline_outbox DROP COLUMN tried;"] {
        let folder = tempfile::tempdir().unwrap();
        let shop = Shop::open(&folder.path().join("shop.db"), true).await;
        let writer = shop.bus.store(&shop.store);
        let mut transaction = shop.pool.begin().await.unwrap();
        let mut outbox = writer.outbox(&mut transaction).await.unwrap();
        let migration = "UPDATE tramline_schema SET version = 999;
             UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology';";
        let migration =
            sqlx::AssertSqlSafe(format!("BEGIN IMMEDIATE; {migration} {change} COMMIT"));
        sqlx::raw_sql(migration).execute(&shop.pool).await.unwrap();
        let failure = outbox.publish(&OrderPlaced { order_id: 1 }).await.unwrap_err();
        let error = failure.find::<tramline::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
        let text = error.to_string();
        assert!(text.contains("shop.db") && text.contains("version 999"), "{text}");
        assert!(shop.bus.is_stopping());
        transaction.commit().await.unwrap();
        let rows = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM tramline_outbox");
        assert_eq!(rows.fetch_one(&shop.pool).await.unwrap(), 0, "whoever commits all the same");
    }
}
