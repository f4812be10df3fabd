//! Handlers that are cancelled by the id of their message.

use crate::kit::{Log, Ping, SECOND, Watched, World, idle};
use std::future::pending;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tramline::{
    BatchOutcome, Bus, Cancel, Draft, Endpoint, Failure, Item, MessageId, Retry, State, Tx,
};

/// Tells when it is dropped.
struct Guard(Log);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

/// Is told that it is cancelled, and then ends as its number says: 1 well, 2 badly, others never.
async fn work(ping: Ping, cancel: Cancel, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("begins {}", ping.n));
    cancel.cancelled().await;
    log.add("told");
    match ping.n {
        1 => Ok(()),
        2 => Err(Failure::retryable("interrupted")),
        _ => {
            let _guard = Guard(log);
            pending().await
        }
    }
}

fn endpoint() -> Endpoint {
    Endpoint::new("q").concurrency(1).retry(Retry::fixed(10 * SECOND).runs(5))
}

async fn send(bus: &Bus, n: u64) -> MessageId {
    let id = bus.send("q", &Ping { n }).await.unwrap().id;
    idle().await;
    id
}

async fn reasons(world: &World) -> Vec<(String, u32)> {
    let deaths = world.dead("q").await.into_iter().map(|dead| dead.death.unwrap());
    deaths.map(|death| (death.reason.as_str().to_owned(), death.failures)).collect()
}

#[tokio::test]
async fn a_cancelled_handler_is_told_at_once_and_dropped_after_its_grace_and_its_message_is_dead() {
    let (world, log, told) = (World::new(), Log::default(), Log::default());
    let telling = told.clone();
    let endpoint = endpoint().on_failure(move |report| telling.add(report.failure.to_string()));
    let bus = world.bus().state(log.clone()).endpoint(endpoint.handle(work));
    let bus = bus.start().await.unwrap();
    let id = send(&bus, 3).await;
    assert!(bus.cancel_running(&id, 5 * SECOND));
    idle().await;
    assert_eq!(log.take(), ["begins 3", "told"]);
    world.wind(4 * SECOND).await;
    assert!(bus.cancel_running(&id, 5 * SECOND), "it still runs, and has no more time for that");
    assert_eq!(log.len(), 0);
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!(told.take(), ["it was cancelled while it was handled"]);
    assert_eq!(
        (world.depth("q").await, reasons(&world).await),
        ([0, 0, 0, 1], vec![("cancelled".into(), 1)])
    );
    assert!(!bus.cancel_running(&id, SECOND), "it does not run any more");
}

#[tokio::test]
async fn one_that_ends_well_within_its_grace_is_handled_and_one_that_fails_is_not_retried() {
    let (world, log) = (World::new(), Log::default());
    let bus = world.bus().state(log.clone()).endpoint(endpoint().handle(work));
    let bus = bus.start().await.unwrap();
    let id = send(&bus, 1).await;
    assert!(bus.cancel_running(&id, SECOND));
    idle().await;
    assert_eq!(
        (log.take(), world.depth("q").await),
        (vec!["begins 1".into(), "told".into()], [0; 4])
    );
    let id = send(&bus, 2).await;
    assert!(bus.cancel_running(&id, SECOND));
    idle().await;
    assert_eq!(log.take(), ["begins 2", "told"]);
    assert_eq!(reasons(&world).await, [("cancelled".into(), 1)]);
    send(&bus, 3).await;
    assert_eq!(log.take(), ["begins 3"], "another message is not told");
}

#[tokio::test]
async fn a_second_word_with_less_grace_counts_and_one_with_more_does_not() {
    let (world, log) = (World::new(), Log::default());
    let bus = world.bus().state(log.clone()).endpoint(endpoint().handle(work));
    let bus = bus.start().await.unwrap();
    let id = send(&bus, 3).await;
    for grace in [60, 2, 90] {
        assert!(bus.cancel_running(&id, grace * SECOND));
        idle().await;
    }
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["begins 3", "told"]);
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["dropped"]);
}

/// What the handler has to cancel itself with.
#[derive(Clone, Default)]
struct Own(Arc<OnceLock<Bus>>);

#[tokio::test]
async fn one_that_never_waits_is_not_retried_either() {
    async fn fail(
        _: Ping,
        _cancel: Cancel,
        id: MessageId,
        State(own): State<Own>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add("runs");
        assert!(own.0.get().unwrap().cancel_running(&id, SECOND));
        Err(Failure::retryable("interrupted"))
    }
    for retry in [Retry::fixed(SECOND).runs(5), Retry::none()] {
        let (world, log, own) = (World::new(), Log::default(), Own::default());
        let bus = world.bus().state(log.clone()).state(own.clone());
        let endpoint = endpoint().concurrency(2).retry(retry);
        let bus = bus.endpoint(endpoint.handle(fail)).start().await.unwrap();
        own.0.set(bus.clone()).unwrap();
        send(&bus, 1).await;
        world.wind(SECOND).await;
        assert_eq!(
            (log.take(), reasons(&world).await),
            (vec!["runs".into()], vec![("cancelled".into(), 1)])
        );
    }
}

#[tokio::test]
async fn what_does_not_run_here_is_not_cancelled() {
    let (world, log) = (World::new(), Log::default());
    let bus = world.bus().state(log.clone()).endpoint(endpoint().handle(work));
    let bus = bus.start().await.unwrap();
    let other = world.bus().start().await.unwrap();
    let (first, second) = (send(&bus, 3).await, send(&bus, 4).await);
    assert!(!other.cancel_running(&first, SECOND), "it runs in another process");
    assert!(!bus.cancel_running(&second, SECOND), "it waits in the queue");
    assert!(!bus.cancel_running(&"unknown".parse().unwrap(), SECOND));
    world.wind(2 * SECOND).await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["begins 3".into()], [1, 1, 0, 0]));
}

#[tokio::test]
async fn one_that_pauses_before_its_next_run_in_place_does_not_run_again() {
    async fn fail(_: Ping, State(log): State<Log>) -> Result<(), Failure> {
        log.add("runs");
        Err(Failure::retryable("again"))
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = endpoint().concurrency(2).retry(Retry::fixed(SECOND).runs(5));
    let bus = world.bus().state(log.clone()).endpoint(endpoint.handle(fail));
    let bus = bus.start().await.unwrap();
    let id = send(&bus, 1).await;
    assert!(bus.cancel_running(&id, 60 * SECOND));
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["runs"]);
    assert_eq!(reasons(&world).await, [("cancelled".into(), 1)]);
}

#[tokio::test]
async fn what_a_cancelled_handler_has_written_is_not_committed() {
    async fn write(_: Ping, tx: Tx<Watched>) -> Result<(), Failure> {
        tx.write(|db| {
            db.put("written", 1);
            Ok(())
        })?;
        pending().await
    }
    let world = World::new();
    let store = Watched::on(world.memory.clone());
    let bus = world.bus().store(store.clone()).endpoint(endpoint().transactional().handle(write));
    let bus = bus.start().await.unwrap();
    let id = send(&bus, 1).await;
    assert!(bus.cancel_running(&id, Duration::ZERO), "no `Cancel` is asked for");
    idle().await;
    assert_eq!(reasons(&world).await, [("cancelled".into(), 1)]);
    assert_eq!(world.memory.read(|db| db.entries::<u32>()).await, []);
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn of_a_batch_the_others_run_again_without_the_cancelled_one() {
    async fn hang(items: Vec<Item<Ping>>, cancel: Cancel, State(log): State<Log>) {
        let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
        log.add(numbers.join(" "));
        if numbers.contains(&"2".to_owned()) {
            cancel.cancelled().await;
            log.add("told");
            pending::<()>().await;
        }
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = endpoint().batch(3, Duration::ZERO).handle_batch(hang);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let pings = [1, 2, 3].map(|n| Ping { n });
    let receipts = bus.send_all("q", &pings).await;
    idle().await;
    let id = &receipts[1].as_ref().unwrap().id;
    assert!(bus.cancel_running(id, SECOND));
    idle().await;
    assert_eq!(log.take(), ["1 2 3", "told"]);
    world.wind(SECOND).await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["1 3".into()], [0, 0, 0, 1]));
    assert_eq!(world.dead("q").await[0].envelope.id.as_ref(), Some(id));
}

#[tokio::test]
async fn a_cancelled_item_that_its_handler_says_has_failed_is_not_retried() {
    async fn fail_second(items: Vec<Item<Ping>>, cancel: Cancel) -> BatchOutcome {
        cancel.cancelled().await;
        let mut outcome = BatchOutcome::ok();
        outcome.fail(&items[1], Failure::retryable("interrupted"));
        outcome
    }
    let world = World::new();
    let endpoint = endpoint().batch(3, Duration::ZERO).handle_batch(fail_second);
    let bus = world.bus().endpoint(endpoint).start().await.unwrap();
    let pings = [1, 2, 3].map(|n| Ping { n });
    let receipts = bus.send_all("q", &pings).await;
    idle().await;
    assert!(bus.cancel_running(&receipts[1].as_ref().unwrap().id, SECOND));
    idle().await;
    assert_eq!(reasons(&world).await, [("cancelled".into(), 1)]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn copies_of_a_cancelled_item_do_not_run_either() {
    async fn hang(items: Vec<Item<Ping>>, State(log): State<Log>) {
        log.add(format!("{} items", items.len()));
        pending().await
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = endpoint().batch(2, Duration::ZERO).handle_batch(hang);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let ping = Ping { n: 1 };
    let id: MessageId = "same".parse().unwrap();
    let draft = || Draft::of(&ping).id(id.clone());
    assert!(bus.send_all("q", [draft(), draft()]).await.iter().all(Result::is_ok));
    idle().await;
    assert!(bus.cancel_running(&id, Duration::ZERO));
    world.wind(60 * SECOND).await;
    assert_eq!(log.take(), ["1 items"]);
    assert_eq!(reasons(&world).await.len(), 2);
    assert_eq!(world.depth("q").await, [0, 0, 0, 2]);
}
