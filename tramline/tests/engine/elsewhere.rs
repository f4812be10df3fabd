//! Store and transport are two databases: inbox row, writes and outbox rows, then the ack.

use crate::kit::{Commit, Log, Paid, Ping, SECOND, Watched, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use tramline::core::store::Store;
use tramline::{Bus, Endpoint, Failure, Outbox, QueueName, Retry, State, Tx};

async fn charge(
    ping: Ping,
    tx: Tx<Watched>,
    outbox: Outbox,
    State(log): State<Log>,
) -> Result<(), Failure> {
    log.add(format!("charge {}", ping.n));
    outbox.publish(&Paid { n: ping.n })?;
    tx.write(|db| {
        db.put("charged", db.get::<u64>("charged").unwrap_or(0) + 1);
        Ok(())
    })
}

async fn keep(paid: Paid, State(log): State<Log>, tx: Tx<Watched>) -> Result<(), Failure> {
    log.add(format!("paid {}", paid.n));
    tx.write(|db| {
        db.put("mailed", db.get::<u64>("mailed").unwrap_or(0) + 1);
        Ok(())
    })
}

async fn counted(store: &Watched, key: &str) -> u64 {
    store.memory.read(|db| db.get::<u64>(key)).await.unwrap_or(0)
}

async fn start(world: &World, transport: crate::kit::Rigged, store: &Watched, log: &Log) -> Bus {
    let retry = Retry::fixed(10 * SECOND);
    world
        .bus_on(transport)
        .store(store.clone())
        .state(log.clone())
        .endpoint(Endpoint::new("payment").transactional().retry(retry.clone()).handle(charge))
        .endpoint(Endpoint::new("mail").subscribe::<Paid>().transactional().handle(keep))
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn effects_are_written_and_messages_relayed() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.other_memory());
    let bus = start(&world, world.rigged(), &store, &log).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["charge 1", "paid 1"]);
    assert_eq!(counted(&store, "charged").await, 1);
    assert_eq!(store.memory.outbox().depth().await.unwrap(), (0, 0));
    assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn an_ack_that_is_lost_after_the_commit_suppresses_the_duplicate() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, rigged.clone(), &store, &log).await;
    rigged.rig.unheard_acks.store(1, SeqCst);
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(world.memory.expire_leases(&QueueName::new("payment").unwrap()), 1);
    idle().await;
    assert_eq!(log.lines(), ["charge 1", "paid 1"], "the inbox knew it before the handler ran");
    assert_eq!(counted(&store, "charged").await, 1);
    assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
}

#[test]
fn a_crash_anywhere_leaves_each_effect_once() {
    let lost = [Commit::DoneUnknown, Commit::LostUnknown];
    for commit in [Commit::Hang, Commit::DoneAndHang].into_iter().chain(lost) {
        let (world, log) = (World::new(), Log::default());
        let database = world.other_memory();
        let crash = tokio::runtime::Builder::new_current_thread().build().unwrap();
        crash.block_on(async {
            let store = Watched::on(database.clone()).then([commit]);
            let bus = start(&world, world.rigged(), &store, &log).await;
            bus.send("payment", &Ping { n: 1 }).await.unwrap();
            tokio::task::yield_now().await;
        });
        drop(crash);
        let restart = tokio::runtime::Builder::new_current_thread().build().unwrap();
        restart.block_on(async {
            let store = Watched::on(database);
            let _bus = start(&world, world.rigged(), &store, &log).await;
            idle().await;
            // What was claimed by the relay that died is free when its lease ends.
            world.wind(60 * SECOND).await;
            assert_eq!(counted(&store, "charged").await, 1, "{commit:?}");
            assert_eq!(counted(&store, "mailed").await, 1, "{commit:?}");
            for queue in ["payment", "mail"] {
                assert_eq!(world.depth(queue).await, [0, 0, 0, 0], "{commit:?} {queue}");
            }
        });
    }
}

#[tokio::test]
async fn a_second_process_at_work_on_the_same_message_is_refused_at_commit() {
    #[derive(Clone)]
    struct Gate(std::sync::Arc<tokio::sync::Semaphore>);
    async fn wait(
        _: Ping,
        tx: Tx<Watched>,
        State(gate): State<Gate>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add("run");
        tx.write(|db| {
            db.put("charged", db.get::<u64>("charged").unwrap_or(0) + 1);
            Ok(())
        })?;
        gate.0.acquire().await?.forget();
        Ok(())
    }
    let (world, log) = (World::new(), Log::default());
    let gate = Gate(std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let store = Watched::on(world.other_memory());
    let start = || {
        world
            .bus_on(world.rigged())
            .store(store.clone())
            .state(log.clone())
            .state(gate.clone())
            .endpoint(Endpoint::new("q").transactional().concurrency(1).handle(wait))
            .start()
    };
    let (first, _second) = (start().await.unwrap(), start().await.unwrap());
    let id = first.send("q", &Ping { n: 1 }).await.unwrap().id;
    first.send("q", &Ping { n: 1 }).id(id).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["run", "run"], "one in each process");
    gate.0.add_permits(2);
    idle().await;
    assert_eq!(counted(&store, "charged").await, 1);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_message_without_id_and_key_is_handled_without_an_inbox_row() {
    use tramline::core::clock::{Clock, Deadline};
    use tramline::core::name::QueueRef;
    use tramline::core::transport::{Destination, Outgoing, Sender, Transport};
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.other_memory());
    let _bus = start(&world, world.rigged(), &store, &log).await;
    let body = bytes::Bytes::from_static(br#"{"n":9}"#);
    let envelope = tramline::Envelope { body, ..Default::default() };
    let outgoing = Outgoing {
        to: Destination::Queue(QueueRef::Main(QueueName::new("payment").unwrap())),
        envelope: envelope.into(),
        due: None,
        copy: None,
    };
    let sender = world.memory.sender().await.unwrap();
    assert!(sender.send(&[outgoing], Deadline(world.clock.now())).await[0].is_accepted());
    idle().await;
    assert_eq!(log.lines(), ["charge 9", "paid 9"]);
}
