//! Store and transport are one database: ack, writes and messages are one transaction.

use crate::kit::{Commit, Log, Order, Paid, Ping, SECOND, Watched, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use tramline::core::name::QueueName;
use tramline::core::store::Refusal;
use tramline::pipeline::Outcome;
use tramline::{Attempt, Draft, Endpoint, Failure, Memory, Outbox, Retry, State, Tx};

/// Adds one to what stands under `key`.
fn count(tx: &tramline::memory::store::MemoryTx, key: &'static str) -> Result<(), Failure> {
    tx.write(move |db| {
        db.put(key, db.get::<u64>(key).unwrap_or(0) + 1);
        Ok(())
    })
}

async fn counted(world: &World, key: &str) -> u64 {
    world.memory.read(|db| db.get::<u64>(key)).await.unwrap_or(0)
}

async fn charge(ping: Ping, tx: Tx<Watched>, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("charge {}", ping.n));
    count(&tx, "charged")?;
    tx.write(move |db| db.publish(&Paid { n: ping.n }))
}

async fn keep(paid: Paid, State(log): State<Log>) {
    log.add(format!("paid {}", paid.n));
}

pub(crate) fn payment() -> Endpoint {
    Endpoint::new("payment").transactional().retry(Retry::fixed(10 * SECOND)).handle(charge)
}

pub(crate) async fn start(
    world: &World,
    store: &Watched,
    log: &Log,
    payment: Endpoint,
) -> tramline::Bus {
    world
        .bus()
        .store(store.clone())
        .state(log.clone())
        .endpoint(payment)
        .endpoint(Endpoint::new("mail").subscribe::<Paid>().handle(keep))
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn writes_messages_and_ack_are_in_together() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let bus = start(&world, &store, &log, payment()).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["charge 1", "paid 1"]);
    assert_eq!(counted(&world, "charged").await, 1);
    assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn a_failed_run_leaves_no_writes_and_no_messages() {
    async fn fail(
        _: Ping,
        attempt: Attempt,
        tx: Tx<Watched>,
        outbox: Outbox,
    ) -> Result<(), Failure> {
        count(&tx, "charged")?;
        outbox.publish(&Paid { n: attempt.0.into() })?;
        if attempt.0 < 3 { Err(Failure::retryable("not yet")) } else { Ok(()) }
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    // The first retry is in place, the second through the transport.
    let retry = Retry::list([SECOND, 10 * SECOND]);
    let endpoint = Endpoint::new("payment").transactional().retry(retry).handle(fail);
    let bus = start(&world, &store, &log, endpoint).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    world.wind(SECOND).await;
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), ["paid 3"]);
    assert_eq!(counted(&world, "charged").await, 1);
}

#[tokio::test]
async fn a_failing_write_is_the_handlers_failure_and_nothing_is_in() {
    async fn write(_: Ping, tx: Tx<Watched>, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: 1 })?;
        count(&tx, "charged")?;
        tx.write(|_| Err(Failure::permanent("the account is closed")))
    }
    async fn panicking(_: Ping, tx: Tx<Watched>) -> Result<(), Failure> {
        count(&tx, "charged")?;
        tx.write(|_| panic!("in a closure"))
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let bus = world
        .bus()
        .store(store.clone())
        .state(log.clone())
        .endpoint(Endpoint::new("write").transactional().handle(write))
        .endpoint(Endpoint::new("panic").transactional().retry(Retry::none()).handle(panicking))
        .endpoint(Endpoint::new("mail").subscribe::<Paid>().handle(keep))
        .start()
        .await
        .unwrap();
    for queue in ["write", "panic"] {
        bus.send(queue, &Ping { n: 1 }).await.unwrap();
        idle().await;
        assert_eq!(world.depth(queue).await, [0, 0, 0, 1]);
    }
    let dead = world.dead("write").await;
    let note = &dead[0].death.as_ref().unwrap().history.notes()[0];
    assert_eq!(note.error, "the account is closed");
    assert_eq!((counted(&world, "charged").await, log.len()), (0, 0));
}

#[test]
fn a_crash_before_the_commit_and_one_after_it_leave_each_effect_once() {
    let world = World::new();
    for (commit, runs) in [(Commit::Hang, 2), (Commit::DoneAndHang, 1)] {
        let log = Log::default();
        let before = futures_util::FutureExt::now_or_never(counted(&world, "charged")).unwrap();
        // Each runtime is a process that dies with everything on it; the memory is the database.
        let crash = tokio::runtime::Builder::new_current_thread().build().unwrap();
        crash.block_on(async {
            let store = Watched::on(world.memory.clone()).then([commit]);
            let bus = start(&world, &store, &log, payment()).await;
            bus.send("payment", &Ping { n: 1 }).await.unwrap();
            idle().await;
            assert_eq!(world.depth("payment").await[1], if runs == 2 { 1 } else { 0 });
        });
        drop(crash);
        let restart = tokio::runtime::Builder::new_current_thread().build().unwrap();
        restart.block_on(async {
            let store = Watched::on(world.memory.clone());
            let bus = start(&world, &store, &log, payment()).await;
            idle().await;
            assert_eq!(counted(&world, "charged").await, before + 1, "{commit:?}");
            let paid = log.lines().iter().filter(|line| *line == "paid 1").count();
            assert_eq!((paid, log.len()), (1, 1 + runs), "{commit:?}");
            assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
            let _drained = bus.drain(SECOND).await.unwrap();
        });
    }
}

#[tokio::test]
async fn a_lost_lease_rolls_the_work_back_and_the_next_holder_does_it() {
    #[derive(Clone)]
    struct Gate(std::sync::Arc<tokio::sync::Semaphore>);
    async fn wait(
        _: Ping,
        tx: Tx<Watched>,
        State(gate): State<Gate>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add("run");
        count(&tx, "charged")?;
        gate.0.acquire().await?.forget();
        Ok(())
    }
    let (world, log) = (World::new(), Log::default());
    let gate = Gate(std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let store = Watched::on(world.memory.clone());
    let bus = world
        .bus()
        .store(store.clone())
        .state(log.clone())
        .state(gate.clone())
        .endpoint(Endpoint::new("q").transactional().handle(wait))
        .start()
        .await
        .unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    world.memory.expire_leases(&QueueName::new("q").unwrap());
    idle().await;
    gate.0.add_permits(2);
    idle().await;
    assert_eq!(log.lines(), ["run", "run"]);
    assert_eq!(counted(&world, "charged").await, 1);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn when_the_answer_to_a_commit_is_lost_the_effects_are_once_all_the_same() {
    for (commit, runs) in [(Commit::DoneUnknown, 1), (Commit::LostUnknown, 2)] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(world.memory.clone()).then([commit]);
        let bus = start(&world, &store, &log, payment()).await;
        bus.send("payment", &Ping { n: 1 }).await.unwrap();
        idle().await;
        assert_eq!(log.lines()[0], "charge 1");
        let again = log.lines().iter().filter(|line| *line == "charge 1").count() - 1;
        assert_eq!(again, 0, "a store that cannot answer is not asked again at once");
        world.wind(SECOND).await;
        let charges = log.lines().iter().filter(|line| *line == "charge 1").count();
        assert_eq!((charges, log.len()), (runs, runs + 1), "{commit:?}");
        assert_eq!(counted(&world, "charged").await, 1, "{commit:?}");
        assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_failure_that_is_retried() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone()).then([Commit::Fail]);
    let bus = start(&world, &store, &log, payment()).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(world.in_queue("payment").await[0].failures, 1);
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), ["charge 1", "charge 1", "paid 1"]);
}

#[tokio::test]
async fn a_message_that_somebody_else_is_at_work_on_comes_back_uncharged() {
    for commit in [Commit::Refuse(Refusal::Busy), Commit::RefuseNothing] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(world.memory.clone()).then([commit]);
        let bus = start(&world, &store, &log, payment()).await;
        bus.send("payment", &Ping { n: 1 }).await.unwrap();
        idle().await;
        let waiting = &world.in_queue("payment").await[0];
        assert_eq!((waiting.failures, waiting.due.is_some()), (0, true));
        world.wind(SECOND).await;
        assert_eq!(log.lines(), ["charge 1", "charge 1", "paid 1"]);
    }
}

#[tokio::test]
async fn a_transaction_that_was_moved_into_a_task_is_a_failure() {
    async fn leak(_: Ping, tx: Tx<Watched>, State(log): State<Log>) {
        tokio::spawn(async move {
            let _tx = tx;
            log.add("holds it");
            std::future::pending::<()>().await;
        });
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let endpoint = Endpoint::new("payment").transactional().retry(Retry::none()).handle(leak);
    let bus = start(&world, &store, &log, endpoint).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let dead = world.dead("payment").await;
    let note = &dead[0].death.as_ref().unwrap().history.notes()[0];
    assert!(note.error.contains("was not given back"), "{}", note.error);
}

#[tokio::test]
async fn a_handler_without_tx_is_transactional_all_the_same() {
    async fn publish(ping: Ping, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: ping.n })
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone()).then([Commit::Fail]);
    let endpoint =
        Endpoint::new("payment").transactional().retry(Retry::immediate(2)).handle(publish);
    let bus = start(&world, &store, &log, endpoint).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["paid 1"], "the failed commit published nothing");
    assert!(store.commits.lock().is_empty(), "there was a commit");
    assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_message_that_is_sent_twice_has_its_effects_once() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let bus = start(&world, &store, &log, payment()).await;
    // The same id.
    let id = bus.send("payment", &Ping { n: 1 }).await.unwrap().id;
    idle().await;
    bus.send("payment", &Ping { n: 1 }).id(id).await.unwrap();
    // Other ids under one key of the sender.
    for _ in 0..3 {
        bus.send("payment", &Ping { n: 2 }).idempotency_key("two").await.unwrap();
        idle().await;
    }
    assert_eq!(counted(&world, "charged").await, 2);
    let paid = log.lines().iter().filter(|line| line.starts_with("paid")).count();
    assert_eq!(paid, 2);
    assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_key_that_is_used_again_for_another_body_is_dead_and_not_swallowed() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let bus = start(&world, &store, &log, payment()).await;
    for n in [1, 2] {
        bus.send("payment", &Ping { n }).idempotency_key("order-7").await.unwrap();
        idle().await;
    }
    assert_eq!(counted(&world, "charged").await, 1);
    let dead = world.dead("payment").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("key reused", 0));
    assert_eq!(dead[0].envelope.body, "{\"n\":2}");
}

#[tokio::test]
async fn the_endpoint_can_derive_a_key_where_the_sender_set_none() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let endpoint = payment().idempotency_key(|envelope| {
        if envelope.headers.text("explode").is_some() {
            panic!("in the key");
        }
        envelope.key.clone()
    });
    let bus = start(&world, &store, &log, endpoint).await;
    for _ in 0..2 {
        bus.send("payment", &Ping { n: 1 }).key("order-7").await.unwrap();
        idle().await;
    }
    assert_eq!(log.take(), ["charge 1", "paid 1"]);
    // A key that cannot be derived is a failure like any other, and ends in time.
    bus.send("payment", &Ping { n: 1 }).header("explode", true).await.unwrap();
    bus.send("payment", &Ping { n: 1 }).header("explode", "now").await.unwrap();
    for _ in 0..4 {
        world.wind(10 * SECOND).await;
    }
    let dead = world.dead("payment").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 5));
    assert_eq!(death.history.notes()[0].error, "panicked in its key: in the key");
}

#[tokio::test]
async fn a_duplicate_waits_for_the_one_in_flight_and_does_not_run() {
    #[derive(Clone)]
    struct Gate(std::sync::Arc<tokio::sync::Semaphore>);
    async fn wait(
        _: Ping,
        tx: Tx<Watched>,
        State(gate): State<Gate>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add("run");
        count(&tx, "charged")?;
        gate.0.acquire().await?.forget();
        Ok(())
    }
    let (world, log) = (World::new(), Log::default());
    let gate = Gate(std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let bus = world
        .bus()
        .store(Watched::on(world.memory.clone()))
        .state(log.clone())
        .state(gate.clone())
        .endpoint(Endpoint::new("q").transactional().handle(wait))
        .start()
        .await
        .unwrap();
    let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
    for _ in 0..2 {
        bus.send("q", &Ping { n: 1 }).id(id.clone()).await.unwrap();
    }
    idle().await;
    assert_eq!(log.lines(), ["run"], "the others wait");
    assert_eq!(world.depth("q").await, [0, 3, 0, 0]);
    gate.0.add_permits(1);
    idle().await;
    assert_eq!(log.lines(), ["run"]);
    assert_eq!(counted(&world, "charged").await, 1);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_waiting_duplicate_is_returned_when_the_bus_is_cut_short() {
    async fn hang(_: Ping, State(log): State<Log>) {
        log.add("run");
        std::future::pending::<()>().await;
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .store(Watched::on(world.memory.clone()))
        .state(log.clone())
        .endpoint(Endpoint::new("q").transactional().handle(hang))
        .start()
        .await
        .unwrap();
    let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
    bus.send("q", &Ping { n: 1 }).id(id.clone()).await.unwrap();
    idle().await;
    let drain = tokio::spawn(async move { bus.drain(SECOND).await.unwrap() });
    world.wind(SECOND).await;
    assert!(drain.is_finished());
    assert_eq!(log.lines(), ["run"], "the second never began");
    assert_eq!(world.depth("q").await, [2, 0, 0, 0]);
}

#[tokio::test]
async fn what_was_published_inside_the_database_needs_no_inbox_row() {
    async fn place(_: Ping, tx: Tx<Memory>) -> Result<(), Failure> {
        tx.write(|db| {
            db.publish(&Order::of(1))?;
            db.send("mail", Draft::of(&Order::of(2)).idempotency_key("keyed"))
        })
    }
    async fn keep_order(order: Order, tx: Tx<Memory>) -> Result<(), Failure> {
        tx.write(move |db| {
            db.put(order.n.to_string(), order.clone());
            Ok(())
        })
    }
    let world = World::new();
    let mail = Endpoint::new("mail").subscribe::<Order>().transactional().handle(keep_order);
    let bus = world
        .bus()
        .store(world.memory.clone())
        .endpoint(Endpoint::new("place").transactional().handle(place))
        .endpoint(mail)
        .start()
        .await
        .unwrap();
    bus.send("place", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(world.memory.read(|db| db.keys::<Order>()).await, ["1", "2"]);
    use tramline::core::store::Store;
    let later = tramline::core::clock::Clock::now(&world.clock).after(SECOND);
    let mut pruned = 0;
    for endpoint in ["place", "mail"] {
        pruned += world.memory.prune_inbox(endpoint, later, 100).await.unwrap();
    }
    assert_eq!(pruned, 2, "one for the client's send, one for the sender's key");
}

#[tokio::test]
async fn callers_outside_of_handlers_write_and_publish_in_one_transaction() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &Watched::on(world.memory.clone()), &log, payment()).await;
    let writer = bus.store(&world.memory);
    writer
        .write(|db| {
            db.put("row", 1u8);
            db.publish(&Paid { n: 9 })
        })
        .await
        .unwrap();
    let refused = writer
        .write(|db| {
            db.put("row", 2u8);
            db.publish(&Paid { n: 10 })?;
            Err::<(), _>(Failure::permanent("no"))
        })
        .await;
    assert!(refused.is_err());
    idle().await;
    assert_eq!(log.lines(), ["paid 9"]);
    assert_eq!(world.memory.read(|db| db.get::<u8>("row")).await, Some(1));
}

#[tokio::test]
async fn the_inbox_forgets_after_its_retention() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let bus = world
        .bus()
        .store(store.clone())
        .state(log.clone())
        .inbox_retention(3600 * SECOND)
        .endpoint(payment())
        .start()
        .await
        .unwrap();
    let id = bus.send("payment", &Ping { n: 1 }).await.unwrap().id;
    idle().await;
    for (minutes, charges) in [(59, 1), (2, 2)] {
        for _ in 0..minutes {
            world.wind(60 * SECOND).await;
        }
        bus.send("payment", &Ping { n: 1 }).id(id.clone()).await.unwrap();
        idle().await;
        assert_eq!(counted(&world, "charged").await, charges);
    }
}

/// Calls the handlers again at once when they fail, and answers for a second failure itself.
struct Stubborn;

impl tramline::pipeline::Layer for Stubborn {
    async fn around<N: tramline::pipeline::Step>(
        &self,
        cx: &mut tramline::pipeline::Context,
        next: &N,
    ) -> Outcome {
        if next.run(cx).await.is_err() {
            let _ = next.run(cx).await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_layer_that_calls_the_handler_again_doubles_nothing() {
    async fn fail_often(ping: Ping, tx: Tx<Memory>, outbox: Outbox, log: State<Log>) -> Outcome {
        count(&tx, "charged")?;
        outbox.publish(&Paid { n: ping.n })?;
        log.0.add("run");
        if (log.0.len() as u64) < ping.n { Err(Failure::retryable("not yet")) } else { Ok(()) }
    }
    for (succeeds_in_run, effects) in [(1, 1), (2, 1), (3, 0)] {
        let (world, log, paid) = (World::new(), Log::default(), Log::default());
        let endpoint = Endpoint::new("payment").transactional().layer(Stubborn).handle(fail_often);
        let told = paid.clone();
        let mail = Endpoint::new("mail").subscribe::<Paid>().handle(move |paid: Paid| {
            told.add(format!("paid {}", paid.n));
            async {}
        });
        let bus = world.bus().store(world.memory.clone()).state(log.clone());
        let bus = bus.endpoint(endpoint).endpoint(mail).start().await.unwrap();
        bus.send("payment", &Ping { n: succeeds_in_run }).await.unwrap();
        idle().await;
        assert_eq!(counted(&world, "charged").await, effects, "success in run {succeeds_in_run}");
        assert_eq!(paid.len() as u64, effects);
        assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
    }
}

#[tokio::test]
async fn endpoints_of_one_name_on_two_queues_are_two() {
    async fn audit(_: Ping, tx: Tx<Memory>) -> Result<(), Failure> {
        count(&tx, "audited")
    }
    let world = World::new();
    let audit = |queue: &str| {
        let queue = QueueName::new(queue).unwrap();
        Endpoint::new("audit").queue(queue).subscribe::<Ping>().transactional().handle(audit)
    };
    let mut buses = Vec::new();
    for queue in ["one", "two"] {
        let bus = world.bus().store(world.memory.clone()).endpoint(audit(queue));
        buses.push(bus.start().await.unwrap());
    }
    buses[0].publish(&Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(counted(&world, "audited").await, 2);
}

#[tokio::test]
async fn a_senders_key_is_not_the_id_of_another_message() {
    async fn audit(_: Ping, tx: Tx<Memory>) -> Result<(), Failure> {
        count(&tx, "audited")
    }
    let world = World::new();
    let endpoint = Endpoint::new("audit").transactional().handle(audit);
    let bus = world.bus().store(world.memory.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("audit", &Ping { n: 1 }).idempotency_key("order-7").await.unwrap();
    bus.send("audit", &Ping { n: 2 }).id("order-7".parse().unwrap()).await.unwrap();
    idle().await;
    assert_eq!(counted(&world, "audited").await, 2);
}
