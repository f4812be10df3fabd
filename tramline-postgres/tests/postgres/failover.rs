//! A primary that dies, and a standby that takes over.

use crate::kit::{begin, numbers, prepared, put, receiver, send, until, within};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tramline_core::compose::Publishing;
use tramline_core::health::Health;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::{Committed, Store};
use tramline_core::transport::{Delivery, Receiver, Sent, Transport};
use tramline_postgres::{Postgres, PostgresReceiver};
use tramline_services::or_skip;
use tramline_services::postgres::Server;
use tramline_services::testing::Database;
use url::Url;

/// How many messages are sent and handled.
const COUNT: usize = 60;

/// How often each message was sent without being refused, and how often it was settled for certain.
type Times = BTreeMap<String, usize>;

/// What a sender is not sure of it sends again.
async fn send_all(postgres: Postgres, mut handled: watch::Receiver<usize>) -> Times {
    let mut sent = Times::new();
    for id in (0..COUNT).map(|id| id.to_string()) {
        // So that the failover comes in the middle.
        handled.wait_for(|handled| handled + 10 >= sent.len()).await.unwrap();
        loop {
            match send(&postgres, &id).await {
                Sent::Refused(error) => assert!(error.is_transient(), "{error}"),
                Sent::Unknown(_) => *sent.entry(id.clone()).or_default() += 1,
                Sent::Accepted { .. } => {
                    *sent.entry(id.clone()).or_default() += 1;
                    break;
                }
            }
        }
    }
    sent
}

/// Handles messages until each was seen.
async fn handle_all(
    postgres: Postgres,
    handled: watch::Sender<usize>,
) -> (PostgresReceiver, Times) {
    let mut settled = Times::new();
    let mut consumer = receiver(&postgres, 5).await;
    while settled.len() < COUNT {
        handle_one(&postgres, &mut consumer, &mut settled).await;
        handled.send_replace(settled.len());
    }
    (consumer, settled)
}

/// Handles what comes again, of which nobody knew the end, until nothing is left.
async fn handle_rest(
    database: &Database,
    postgres: &Postgres,
    mut consumer: PostgresReceiver,
    settled: &mut Times,
) {
    let left = "SELECT count(*) FROM tramline.message";
    let emptied = until(database, left, |left| left == ["0"]);
    tokio::pin!(emptied);
    loop {
        tokio::select! {
            _ = &mut emptied => return,
            () = handle_one(postgres, &mut consumer, settled) => {}
        }
    }
}

async fn handle_one(postgres: &Postgres, consumer: &mut PostgresReceiver, settled: &mut Times) {
    let delivery = match consumer.next().await {
        Ok(delivery) => delivery.unwrap(),
        // As the engine does.
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            *consumer = receiver(postgres, 5).await;
            return;
        }
    };
    let id = delivery.envelope().id.as_ref().unwrap().to_string();
    let times = settled.entry(id).or_default();
    match delivery.settle(Settlement::Ack).await {
        Ok(ended) => *times += usize::from(ended == Settled::Done),
        Err(error) => assert!(error.is_transient(), "{error}"),
    }
}

/// A unit of work in a transaction of its own.
async fn commit(postgres: &Postgres, n: i64) {
    let mut tx = begin(postgres, Publishing::Queues).await;
    put(&mut tx, n).await;
    let committed = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
    assert_eq!(committed.unwrap(), Committed::Done);
}

/// The standby confirms each commit of the primary from now on.
async fn confirm_together(primary: &Server) {
    for statement in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"]
    {
        primary.psql("postgres", statement).unwrap();
    }
    let state = || primary.psql("postgres", "SELECT sync_state FROM pg_stat_replication").unwrap();
    within(async {
        while state().trim() != "sync" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_standby_takes_over_work_goes_on_there_and_nothing_that_was_confirmed_is_lost() {
    let Some(primary) = or_skip(Server::temporary("primary", &[])) else { return };
    let mut database = Database::on(primary.url().parse().unwrap());
    drop(prepared(&database).await);
    let standby = Server::temporary_standby("standby", &primary).unwrap();
    confirm_together(&primary).await;
    let standby_url: Url = standby.url().parse().unwrap();
    let [one, other] =
        [&database.url, &standby_url].map(|url| format!("127.0.0.1:{}", url.port().unwrap()));
    let url = database.url.as_str().replace(&one, &format!("{one},{other}"));
    // What a failover has made unclear comes back after a lease at the latest.
    let options = Postgres::options(format!("{url}?target_session_attrs=read-write"));
    let postgres = options.lease(Duration::from_secs(10)).open().await.unwrap();
    commit(&postgres, 1).await;

    let handled = watch::Sender::new(0);
    let mut counted = handled.subscribe();
    let sending = tokio::spawn(send_all(postgres.clone(), handled.subscribe()));
    let handling = tokio::spawn(handle_all(postgres.clone(), handled));
    within(counted.wait_for(|handled| *handled >= COUNT / 3)).await.unwrap();
    primary.kill().unwrap();
    // It finds one dead, and the other still a standby.
    within(async {
        loop {
            match postgres.health() {
                Health::Reconnecting { error, .. } if error.contains("does not allow writes") => {
                    return;
                }
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    standby.psql("postgres", "SELECT pg_promote()").unwrap();

    database.url.set_port(standby_url.port()).unwrap();

    let sent = within(sending).await.unwrap();
    let (consumer, mut settled) = within(handling).await.unwrap();
    handle_rest(&database, &postgres, consumer, &mut settled).await;
    for (id, times) in &settled {
        assert!(*times <= sent[id], "{id} was settled, and came again");
    }
    commit(&postgres, 2).await;
    assert_eq!(numbers(&database), ["1", "2"]);
}
