//! How many connections a program has.

use crate::kit::{
    appended, begin, bodies, name, next, note, numbers, prepared, put, receiver, send, within,
};
use crate::planning::at;
use futures_util::future::join_all;
use std::time::Duration;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::compose::Publishing;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::{Committed, Schedules, Store};
use tramline_core::topology::Topology;
use tramline_core::transport::{Delivery, Transport};
use tramline_postgres::Postgres;
use tramline_postgres::sqlx::{self, Connection, PgConnection};
use tramline_services::testing::Database;

/// To send, to settle, to take, to commit what was queued, to listen, to look after things, for the relay,
/// for schedules, for operators.
const ITS_OWN: i64 = 9;
const HANDLERS_MAX: u32 = 3;
/// So many of everything.
const COUNT: i64 = 200;

/// One more client, which sees all others.
struct Observer(PgConnection);

impl Observer {
    async fn of(database: &Database) -> Self {
        Self(PgConnection::connect(database.url.as_str()).await.unwrap())
    }

    async fn count(&mut self) -> i64 {
        const OTHERS: &str =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
             AND datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query_scalar(OTHERS).fetch_one(&mut self.0).await.unwrap()
    }

    /// Waits until there are so many, where some are just leaving.
    async fn until(&mut self, count: i64) {
        within(async {
            while self.count().await != count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

/// Sends, takes and settles.
async fn messages(postgres: &Postgres) {
    let ids: Vec<_> = (0..COUNT).map(|id| id.to_string()).collect();
    let sending = join_all(ids.iter().map(|id| send(postgres, id)));
    let taking = async {
        let mut consumer = receiver(postgres, 20).await;
        for _ in 0..COUNT {
            let settled = next(&mut consumer).await.settle(Settlement::Ack).await;
            assert_eq!(settled.unwrap(), Settled::Done);
        }
    };
    let (sent, ()) = tokio::join!(sending, taking);
    assert!(sent.iter().all(|sent| sent.is_accepted()), "{sent:?}");
}

/// Ends units of work, in transactions of their own or with what they have queued.
async fn units(postgres: &Postgres) {
    let units = (0..COUNT).map(async |n| {
        let mut tx = begin(postgres, Publishing::Outbox).await;
        tx.publish(&note("event")).unwrap();
        match n % 2 {
            0 => put(&mut tx, n).await,
            _ => tx.write("INSERT INTO numbers VALUES ($1)", (n,)).unwrap(),
        }
        assert_eq!(postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap(), Committed::Done);
    });
    join_all(units).await;
}

/// Looks at the queue, as operators do.
async fn look(postgres: &Postgres) {
    let operate = postgres.operate().unwrap();
    for _ in 0..COUNT {
        operate.depth(&name("work")).await.unwrap();
    }
}

/// Puts schedules, and looks what is due.
async fn schedule(postgres: &Postgres) {
    for n in 0..COUNT {
        let plan = crate::planning::schedule(&n.to_string(), n, n);
        Schedules::plan(postgres, vec![plan]).await.unwrap();
        Schedules::look(postgres, 10, at(0)).await.unwrap();
    }
}

async fn relay(postgres: &Postgres) {
    let mut left = COUNT as usize;
    while left > 0 {
        let rows = postgres.outbox().claim(10, Duration::from_secs(60), SystemClock.now());
        let tokens: Vec<_> = rows.await.unwrap().iter().map(|row| row.token).collect();
        match tokens.is_empty() {
            true => postgres.outbox().appended().await,
            false => postgres.outbox().sent(&tokens).await.unwrap(),
        }
        left -= tokens.len();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_has_nine_connections_and_those_of_its_handlers_whatever_it_does_at_once() {
    let Some(database) = Database::fresh() else { return };
    drop(prepared(&database).await);
    let mut observer = Observer::of(&database).await;
    observer.until(0).await;
    let options = Postgres::options(database.url.as_str()).handlers_max(HANDLERS_MAX);
    let postgres = options.open().await.unwrap();
    observer.until(1).await;
    let busy = tokio::spawn({
        let postgres = postgres.clone();
        async move {
            let messages = async { tokio::join!(messages(&postgres), units(&postgres)) };
            let (looking, scheduling) = (look(&postgres), schedule(&postgres));
            within(async { tokio::join!(messages, relay(&postgres), looking, scheduling) }).await
        }
    });
    let all = ITS_OWN + i64::from(HANDLERS_MAX);
    while !busy.is_finished() {
        let count = observer.count().await;
        assert!(count <= all, "{count} connections");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    busy.await.unwrap();
    assert_eq!(observer.count().await, all);
    assert_eq!(numbers(&database).len() as i64, COUNT);
    assert_eq!((bodies(&database, "work").len(), appended(&database)), (0, "0".into()));

    postgres.declare(&Topology::default()).await.unwrap();
    observer.until(all).await;
    drop(postgres);
    observer.until(0).await;
}
