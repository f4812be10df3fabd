//! Programs that start together on a database that is empty.

use crate::kit::{bodies, note};
use crate::kit::{column, name, outside, until, within};
use futures_util::future::{join_all, try_join_all};
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::compose::{Publishing, Target};
use tramline_core::name::QueueRef;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::Store;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Delivery, Receiver, Sender, Source, Transport};
use tramline_postgres::{Postgres, sqlx};
use tramline_services::testing::{Database, PATIENCE};

const PROGRAMS: usize = 8;

/// All have seen that there is nothing, and wait for their turn to change that.
async fn opened_at_once(database: &Database) -> Vec<Postgres> {
    let pool = sqlx::PgPool::connect(database.url.as_str()).await.unwrap();
    let mut turn = pool.begin().await.unwrap();
    let take_turn = sqlx::query("SELECT pg_advisory_xact_lock(-1953260903, 0)");
    take_turn.execute(&mut *turn).await.unwrap();
    let opening: Vec<_> = (0..PROGRAMS)
        .map(|_| tokio::spawn(Postgres::connect(database.url.as_str().to_owned())))
        .collect();
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(database, waiting, |waiting| waiting == [PROGRAMS.to_string()]).await;
    turn.rollback().await.unwrap();
    let opened = within(try_join_all(opening)).await.unwrap();
    opened.into_iter().map(|postgres| postgres.unwrap()).collect()
}

fn queue(nth: usize) -> String {
    format!("work-{}", nth % PROGRAMS)
}

/// Declares a queue of its own, and sends to that of the next one.
async fn declare_and_send(postgres: &Postgres, nth: usize) {
    let queues = [nth, nth + 1].map(|nth| QueueSpec::new(name(&queue(nth))));
    let topology = Topology { queues: queues.into(), ..Topology::default() };
    postgres.declare(&topology).await.unwrap();
    let to = Target::Queue(name(&queue(nth + 1)));
    let outgoing = outside(Publishing::Queues).compose(&note(&format!("from {nth}")), to).unwrap();
    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    let sent = postgres.sender().await.unwrap().send(&[outgoing], deadline).await;
    assert!(sent[0].is_accepted(), "{sent:?}");
}

async fn take(postgres: &Postgres, nth: usize) {
    let source = Source::of(QueueRef::Main(name(&queue(nth))), 1);
    let delivery = postgres.receiver(&source).await.unwrap().next().await.unwrap().unwrap();
    let from = format!("from {}", (nth + PROGRAMS - 1) % PROGRAMS);
    let body = String::from_utf8_lossy(&delivery.envelope().body).into_owned();
    assert!(body.contains(&from), "{body}");
    assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_find_an_empty_database_at_once_make_the_tables_once_and_work_together() {
    let (Some(database), Some(alone)) = (Database::fresh(), Database::fresh()) else { return };
    drop(Postgres::connect(alone.url.as_str()).await.unwrap());
    let programs = opened_at_once(&database).await;
    for made in ["SELECT version FROM tramline.schema", "SELECT version FROM tramline.topology"] {
        assert_eq!(column(&database, made), column(&alone, made), "{made}");
    }
    assert!(programs.iter().all(|one| Store::database(one) == Store::database(&programs[0])));

    let sending = programs.iter().enumerate().map(|(nth, one)| declare_and_send(one, nth));
    within(join_all(sending)).await;
    let taking = programs.iter().enumerate().map(|(nth, one)| take(one, nth));
    within(join_all(taking)).await;
    assert!((0..PROGRAMS).all(|nth| bodies(&database, &queue(nth)).is_empty()));
}
