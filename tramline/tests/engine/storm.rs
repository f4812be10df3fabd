//! Everything at once, on many threads: duplicates, failures, panics, lost leases, lost answers.

use crate::kit::{Commit, Paid, Ping, SECOND, Watched, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tramline::core::store::{Refusal, Store};
use tramline::core::transport::Transport;
use tramline::{Bus, Endpoint, Failure, MessageId, Outbox, QueueName, Retry, State, Tx};

const MESSAGES: u64 = 500;

/// Fails now and then, and else adds one to what stands under the message's number.
async fn charge(
    ping: Ping,
    tx: Tx<Watched>,
    outbox: Outbox,
    State(runs): State<Arc<AtomicU64>>,
) -> Result<(), Failure> {
    tokio::task::yield_now().await;
    match runs.fetch_add(1, SeqCst) % 7 {
        2 => return Err(Failure::retryable("now and then")),
        5 => panic!("now and then"),
        _ => {}
    }
    outbox.publish(&Paid { n: ping.n })?;
    add_one(&tx, format!("charge {}", ping.n))
}

async fn mail(paid: Paid, tx: Tx<Watched>) -> Result<(), Failure> {
    tokio::task::yield_now().await;
    add_one(&tx, format!("mail {}", paid.n))
}

fn add_one(tx: &Tx<Watched>, key: String) -> Result<(), Failure> {
    tx.write(move |db| {
        db.put(key.clone(), db.get::<u64>(&key).unwrap_or(0) + 1);
        Ok(())
    })
}

async fn start<T: Transport>(world: &World, transport: T, store: &Watched) -> Bus {
    let endpoint = |name: &str| {
        Endpoint::new(name).transactional().concurrency(8).retry(Retry::immediate(1000))
    };
    world
        .bus_on(transport)
        .store(store.clone())
        .state(Arc::new(AtomicU64::new(0)))
        .endpoint(endpoint("charge").handle(charge))
        .endpoint(endpoint("mail").subscribe::<Paid>().handle(mail))
        .start()
        .await
        .unwrap()
}

/// Two processes on one broker: each message is sent twice, and what can go wrong does.
async fn storm<T: Transport>(world: World, store: Watched, transport: impl Fn() -> T) {
    let answers = [
        Commit::DoneUnknown,
        Commit::Fail,
        Commit::Away,
        Commit::LostUnknown,
        Commit::Refuse(Refusal::Busy),
        Commit::DoneUnknown,
        Commit::RefuseNothing,
    ];
    let buses =
        [start(&world, transport(), &store).await, start(&world, transport(), &store).await];
    for n in 0..MESSAGES {
        let id: MessageId = format!("order-{n}").parse().unwrap();
        for bus in &buses {
            bus.send("charge", &Ping { n }).id(id.clone()).await.unwrap();
        }
        store.commits.lock().push_back(answers[n as usize % answers.len()]);
        if n % 20 == 0 {
            for queue in ["charge", "mail"] {
                world.memory.expire_leases(&QueueName::new(queue).unwrap());
            }
        }
    }
    let calm = async {
        loop {
            tokio::task::yield_now().await;
            world.clock.advance(Duration::from_millis(1));
            let depths = [world.depth("charge").await, world.depth("mail").await];
            let waiting = store.outbox().depth().await.unwrap().0;
            if depths == [[0; 4]; 2] && waiting == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), calm).await.expect("the storm never ends");
    let entries = store.memory.read(|db| db.entries::<u64>()).await;
    assert_eq!(entries.len() as u64, 2 * MESSAGES);
    let twice: Vec<_> = entries.iter().filter(|(_, count)| *count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for bus in buses {
        let _drained = bus.drain(SECOND).await.unwrap();
    }
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_one_database_each_effect_is_there_once() {
    let world = World::new();
    let store = Watched::on(world.memory.clone());
    let memory = world.memory.clone();
    storm(world, store, || memory.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_two_databases_each_effect_is_there_once() {
    let world = World::new();
    let store = Watched::on(world.other_memory());
    let rigged = world.rigged();
    rigged.rig.failing_acks.store(50, SeqCst);
    storm(world, store, || rigged.clone()).await;
}
