//! Batch handlers.

use crate::kit::{Answer, Commit, Log, Order, Paid, Ping, SECOND, Watched, World, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tramline::core::name::QueueName;
use tramline::core::store::Refusal;
use tramline::{Bus, Draft, Endpoint, Envelope, Failure, Item, MessageId, Retry, State, Tx};

/// Writes down the numbers of each batch, and fails with those that hold a 13.
async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<(), Failure> {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
    log.add(numbers.join(" "));
    if items.iter().any(|item| item.message.n == 13) {
        return Err(Failure::retryable("an unlucky number"));
    }
    Ok(())
}

fn pings(numbers: impl IntoIterator<Item = u64>) -> Vec<Ping> {
    numbers.into_iter().map(|n| Ping { n }).collect()
}

async fn send(bus: &Bus, numbers: impl IntoIterator<Item = u64>) -> Vec<MessageId> {
    let receipts = bus.send_all("q", &pings(numbers)).await;
    receipts.into_iter().map(|receipt| receipt.unwrap().id).collect()
}

async fn start(world: &World, log: &Log, endpoint: Endpoint) -> Bus {
    world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap()
}

fn one_by_one() -> Endpoint {
    Endpoint::new("q").concurrency(1).retry(Retry::fixed(10 * SECOND).runs(2))
}

#[tokio::test]
async fn what_is_there_at_once_is_a_batch_of_at_most_its_size() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = one_by_one().batch(3, Duration::ZERO).handle_batch(keep);
    let bus = start(&world, &log, endpoint).await;
    send(&bus, 1..=8).await;
    idle().await;
    assert_eq!(log.lines(), ["1 2 3", "4 5 6", "7 8"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_large_batch_is_not_cut_short_while_more_is_there() {
    async fn count(items: Vec<Item<Ping>>, State(log): State<Log>) {
        log.add(items.len().to_string());
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = one_by_one().batch(1000, Duration::ZERO).handle_batch(count);
    let bus = start(&world, &log, endpoint).await;
    send(&bus, 1..=2500).await;
    idle().await;
    assert_eq!(log.lines(), ["1000", "1000", "500"]);
}

#[tokio::test]
async fn a_batch_that_is_not_full_waits_as_long_as_it_is_told() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = one_by_one().batch(3, 5 * SECOND).handle_batch(keep);
    let bus = start(&world, &log, endpoint).await;
    send(&bus, [1]).await;
    world.wind(4 * SECOND).await;
    send(&bus, [2]).await;
    idle().await;
    assert_eq!(log.len(), 0);
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["1 2"], "counted from its first message");
    send(&bus, 1..=3).await;
    idle().await;
    assert_eq!(log.take(), ["1 2 3"], "a full one waits for nothing");

    send(&bus, [4]).await;
    idle().await;
    let drained = crate::kit::at_once(bus.drain(60 * SECOND)).await.unwrap();
    assert_eq!(drained, tramline::Drained::Clean);
    assert_eq!(log.lines(), ["4"], "a drain ends the wait");
}

#[tokio::test]
async fn a_failing_batch_is_halved_until_the_bad_message_is_alone() {
    let (world, log, failures) = (World::new(), Log::default(), Log::default());
    let told = failures.clone();
    let endpoint = one_by_one()
        .batch(8, Duration::ZERO)
        .on_failure(move |report| told.add(format!("{} {}", report.attempt, report.failure)))
        .handle_batch(keep);
    let bus = start(&world, &log, endpoint).await;
    let ids = send(&bus, [1, 2, 13, 4, 5, 6, 7, 8]).await;
    idle().await;
    let expected = ["1 2 13 4 5 6 7 8", "1 2 13 4", "1 2", "13 4", "13", "4", "5 6 7 8"];
    assert_eq!(log.take(), expected);
    assert_eq!(failures.take(), ["1 an unlucky number"], "charged once, and only the bad one");
    let waiting = world.in_queue("q").await;
    assert_eq!((waiting.len(), waiting[0].failures), (1, 1));
    world.wind(10 * SECOND).await;
    assert_eq!(
        (log.lines(), failures.lines()),
        (vec!["13".into()], vec!["2 an unlucky number".into()])
    );
    let dead = world.dead("q").await;
    assert_eq!(dead[0].envelope.id.as_ref(), Some(&ids[2]));
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 2));
}

#[tokio::test]
async fn items_know_their_id_and_their_attempt() {
    async fn attempts(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<(), Failure> {
        for item in &items {
            log.add(format!("{} {} {}", item.id, item.message.n, item.attempt));
        }
        if items[0].attempt == 1 { Err(Failure::retryable("again")) } else { Ok(()) }
    }
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, one_by_one().handle_batch(attempts)).await;
    let id = &send(&bus, [1]).await[0];
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), [format!("{id} 1 1"), format!("{id} 1 2")]);
}

#[tokio::test]
async fn an_undecodable_item_dies_alone() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct WrongPing {
        n: String,
    }
    impl tramline::Message for WrongPing {
        const NAME: &'static str = "ping";
    }
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, one_by_one().batch(4, Duration::ZERO).handle_batch(keep)).await;
    send(&bus, [1]).await;
    bus.send("q", &WrongPing { n: "x".to_owned() }).await.unwrap();
    send(&bus, [2, 3]).await;
    idle().await;
    let mut seen: Vec<_> = log.lines().join(" ").split(' ').map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, ["1", "2", "3"]);
    let dead = world.dead("q").await;
    assert_eq!(dead[0].death.as_ref().unwrap().reason.as_str(), "undecodable");
}

#[tokio::test]
async fn a_panic_of_a_batch_is_a_failure_of_the_one_that_causes_it() {
    async fn panicking(items: Vec<Item<Ping>>, State(log): State<Log>) {
        assert!(items.iter().all(|item| item.message.n != 13), "unlucky");
        log.add(format!("{}", items.len()));
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = one_by_one().retry(Retry::none()).batch(4, Duration::ZERO);
    let bus = start(&world, &log, endpoint.handle_batch(panicking)).await;
    send(&bus, [1, 2, 13, 4]).await;
    idle().await;
    assert_eq!(log.lines(), ["2", "1"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn types_that_are_unknown_and_messages_that_expired_are_no_part_of_a_batch() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = || one_by_one().batch(4, Duration::ZERO).handle_batch(keep);
    let bus = start(&world, &log, endpoint()).await;
    let _drained = bus.drain(SECOND).await.unwrap();
    let bus = world.bus().start().await.unwrap();
    send(&bus, [1]).await;
    bus.send("q", &Order::of(1)).await.unwrap();
    bus.send("q", &Ping { n: 9 }).ttl(SECOND).await.unwrap();
    send(&bus, [2]).await;
    world.wind(SECOND).await;
    let _bus = start(&world, &log, endpoint()).await;
    idle().await;
    assert_eq!(log.lines(), ["1 2"]);
    assert_eq!(world.depth("q").await, [0, 0, 1, 1]);
}

type Seen = tokio::sync::mpsc::UnboundedSender<Arc<Envelope>>;

async fn keep_envelope(_: Paid, envelope: Arc<Envelope>, State(seen): State<Seen>) {
    seen.send(envelope).unwrap();
}

#[tokio::test]
async fn ids_of_what_items_publish_do_not_depend_on_who_else_is_in_the_batch() {
    async fn publish(
        items: Vec<Item<Ping>>,
        State(seen): State<Arc<AtomicU32>>,
    ) -> Result<(), Failure> {
        for item in &items {
            item.publish(&Paid { n: item.message.n })?;
            item.send("end", &Paid { n: item.message.n })?;
        }
        // The second half fails once after the first has left.
        if items[0].message.n == 3 && seen.fetch_add(1, SeqCst) == 0 {
            return Err(Failure::retryable("once"));
        }
        Ok(())
    }
    for size in [1, 2, 4] {
        let world = World::new();
        let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel();
        let end = Endpoint::new("end").subscribe::<Paid>().concurrency(1).handle(keep_envelope);
        let bus = world
            .bus()
            .state::<Seen>(seen)
            .state(Arc::new(AtomicU32::new(0)))
            .endpoint(one_by_one().batch(size, Duration::ZERO).handle_batch(publish))
            .endpoint(end)
            .start()
            .await
            .unwrap();
        let ids = send(&bus, 1..=4).await;
        world.wind(10 * SECOND).await;
        let mut published = Vec::new();
        while let Ok(envelope) = envelopes.try_recv() {
            published.push((envelope.id.clone().unwrap(), envelope.causation_id.clone().unwrap()));
        }
        let of = |id: &MessageId, n| (MessageId::derive(id, "q", n), id.clone());
        let mut expected: Vec<_> = ids.iter().flat_map(|id| [of(id, 0), of(id, 1)]).collect();
        published.sort();
        expected.sort();
        assert_eq!(published, expected, "in batches of {size}");
    }
}

#[tokio::test]
async fn in_a_batch_of_one_closures_and_items_publish_under_different_ids() {
    async fn both(items: Vec<Item<Ping>>, tx: Tx<Watched>) -> Result<(), Failure> {
        tx.write(|db| db.publish(&Paid { n: 0 }))?;
        items[0].publish(&Paid { n: 1 })
    }
    let world = World::new();
    let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel();
    let bus = world
        .bus()
        .store(Watched::on(world.memory.clone()))
        .state::<Seen>(seen)
        .endpoint(one_by_one().transactional().handle_batch(both))
        .endpoint(Endpoint::new("end").subscribe::<Paid>().handle(keep_envelope))
        .start()
        .await
        .unwrap();
    let id = &send(&bus, [1]).await[0];
    idle().await;
    let [first, second] = [(); 2].map(|()| envelopes.try_recv().unwrap().id.clone().unwrap());
    assert_ne!(first, second, "an inbox would swallow one of them");
    assert!([&first, &second].contains(&&MessageId::derive(id, "q", 0)));
}

async fn write_all(
    items: Vec<Item<Ping>>,
    tx: Tx<Watched>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n).collect();
    log.add(format!("{numbers:?}"));
    tx.write(move |db| {
        for n in &numbers {
            db.put(n.to_string(), db.get::<u32>(&n.to_string()).unwrap_or(0) + 1);
        }
        Ok(())
    })
}

async fn written(world: &World) -> Vec<(String, u32)> {
    world.memory.read(|db| db.entries::<u32>()).await
}

#[tokio::test]
async fn a_batch_is_one_transaction_with_all_its_acks() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let endpoint = one_by_one().transactional().batch(4, Duration::ZERO).handle_batch(write_all);
    let bus = world.bus().store(store.clone()).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    send(&bus, 1..=4).await;
    idle().await;
    assert_eq!(log.lines(), ["[1, 2, 3, 4]"]);
    assert_eq!(written(&world).await.len(), 4);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn a_refused_condition_drops_only_its_item() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = one_by_one().transactional().batch(3, Duration::ZERO).handle_batch(write_all);
    let store = Watched::on(world.memory.clone());
    let bus = world.bus().store(store).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    let id = bus.send("q", &Ping { n: 2 }).await.unwrap().id;
    idle().await;
    log.take();
    let drafts = pings(1..=3);
    let drafts = drafts.iter().map(|ping| {
        let draft = tramline::Draft::of(ping);
        if ping.n == 2 { draft.id(id.clone()) } else { draft }
    });
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
    idle().await;
    assert_eq!(log.lines(), ["[1, 2, 3]", "[1, 3]"]);
    let once = ["1", "2", "3"].map(|n| (n.to_owned(), 1));
    assert_eq!(written(&world).await, once);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_lost_lease_drops_only_its_item() {
    #[derive(Clone)]
    struct Gate(Arc<tokio::sync::Semaphore>);
    async fn wait(
        items: Vec<Item<Ping>>,
        tx: Tx<Watched>,
        State(gate): State<Gate>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        gate.0.acquire().await?.forget();
        write_all(items, tx, State(log)).await
    }
    let (world, log) = (World::new(), Log::default());
    let gate = Gate(Arc::new(tokio::sync::Semaphore::new(0)));
    let endpoint = one_by_one().transactional().batch(2, Duration::ZERO).handle_batch(wait);
    let store = Watched::on(world.memory.clone());
    let bus = world.bus().store(store).state(log.clone()).state(gate.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    send(&bus, [1, 2]).await;
    idle().await;
    world.memory.expire_leases(&QueueName::new("q").unwrap());
    gate.0.add_permits(10);
    idle().await;
    idle().await;
    assert_eq!(written(&world).await, ["1", "2"].map(|n| (n.to_owned(), 1)));
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_store_that_refuses_without_saying_what_brings_the_batch_back_uncharged() {
    for (commit, runs) in [(Commit::RefuseNothing, 1), (Commit::Refuse(Refusal::Busy), 2)] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(world.memory.clone()).then([commit]);
        let endpoint =
            one_by_one().transactional().batch(2, Duration::ZERO).handle_batch(write_all);
        let bus = world.bus().store(store).state(log.clone()).endpoint(endpoint);
        let bus = bus.start().await.unwrap();
        send(&bus, [1, 2]).await;
        idle().await;
        assert_eq!(log.len(), runs, "none runs again at once but those that were not refused");
        assert!(world.in_queue("q").await.iter().all(|row| row.failures == 0));
        world.wind(SECOND).await;
        assert_eq!(written(&world).await, ["1", "2"].map(|n| (n.to_owned(), 1)), "{commit:?}");
    }
}

#[tokio::test]
async fn what_was_handled_before_does_not_reach_the_handler_of_a_batch() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.other_memory());
    let bus = world.bus_on(world.rigged()).store(store).state(log.clone());
    let endpoint = one_by_one().transactional().batch(10, Duration::ZERO).handle_batch(keep);
    let bus = bus.endpoint(endpoint).start().await.unwrap();
    let first = send(&bus, [1]).await.remove(0);
    idle().await;
    let pings = pings([2, 1, 3]);
    let mut drafts: Vec<_> = pings.iter().map(Draft::of).collect();
    drafts[1] = Draft::of(&pings[1]).id(first);
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
    idle().await;
    assert_eq!(log.lines(), ["1", "2 3"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_receiver_that_fails_while_a_batch_is_gathered_is_replaced() {
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    let endpoint = one_by_one().batch(3, 5 * SECOND).handle_batch(keep);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    send(&bus, [1]).await;
    idle().await;
    rigged.rig.broken_receivers.store(1, SeqCst);
    idle().await;
    send(&bus, [2]).await;
    idle().await;
    assert_eq!(log.take(), ["1 2"], "what was gathered is handled, without the wait");
    send(&bus, [3]).await;
    world.wind(5 * SECOND).await;
    world.wind(5 * SECOND).await;
    assert_eq!(log.lines(), ["3"], "a receiver that failed is not asked again");
    assert_eq!(rigged.rig.receivers_made.load(SeqCst), 2);
}

#[tokio::test]
async fn what_a_batch_publishes_leaves_after_its_success_and_a_refusal_is_a_failure() {
    async fn publish(items: Vec<Item<Ping>>) -> Result<(), Failure> {
        items.iter().try_for_each(|item| item.publish(&Paid { n: item.message.n }))
    }
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    let endpoint = one_by_one().batch(2, Duration::ZERO).handle_batch(publish);
    async fn keep_paid(paid: Paid, State(log): State<Log>) {
        log.add(paid.n.to_string());
    }
    let end = Endpoint::new("end").subscribe::<Paid>().concurrency(1).handle(keep_paid);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).endpoint(endpoint).endpoint(end);
    let bus = bus.start().await.unwrap();
    send(&bus, [1, 2]).await;
    rigged.rig.answers.lock().extend([Answer::Refuse, Answer::Accept, Answer::Refuse]);
    idle().await;
    assert_eq!(log.lines(), ["1"]);
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), ["1", "2"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_batch_that_is_cut_short_returns_every_item_and_begins_no_half() {
    async fn hang(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<(), Failure> {
        log.add(items.len().to_string());
        if items.len() == 4 {
            return Err(Failure::retryable("halve"));
        }
        std::future::pending().await
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = one_by_one().batch(4, Duration::ZERO).handle_batch(hang);
    let bus = start(&world, &log, endpoint).await;
    send(&bus, 1..=4).await;
    idle().await;
    assert_eq!(log.lines(), ["4", "2"]);
    let drain = tokio::spawn(async move { bus.drain(SECOND).await.unwrap() });
    world.wind(SECOND).await;
    assert_eq!(drain.await.unwrap(), tramline::Drained::CutShort);
    assert_eq!(log.lines(), ["4", "2"]);
    assert_eq!(world.depth("q").await, [4, 0, 0, 0]);
    assert!(world.in_queue("q").await.iter().all(|row| row.failures == 0));
}

#[tokio::test]
async fn a_batch_has_a_time_limit_as_any_run() {
    async fn hang_with_two(items: Vec<Item<Ping>>, State(log): State<Log>) {
        log.add(items.len().to_string());
        if items.len() > 1 {
            std::future::pending::<()>().await;
        }
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint =
        one_by_one().time_limit(SECOND).batch(2, Duration::ZERO).handle_batch(hang_with_two);
    let bus = start(&world, &log, endpoint).await;
    send(&bus, [1, 2]).await;
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["2", "1", "1"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}
