//! Batch handlers that answer for each message.

use crate::kit::{Log, Paid, Ping, SECOND, Watched, World, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tramline::{
    BatchOutcome, Bus, BusBuilder, CircuitBreaker, Endpoint, Failure, Item, Memory, Retry, State,
    Tx,
};

fn one_by_one() -> Endpoint {
    Endpoint::new("q")
        .concurrency(1)
        .retry(Retry::fixed(10 * SECOND).runs(2))
        .batch(10, Duration::ZERO)
}

async fn send(bus: &Bus, numbers: impl IntoIterator<Item = u64>) {
    let pings: Vec<_> = numbers.into_iter().map(|n| Ping { n }).collect();
    assert!(bus.send_all("q", &pings).await.iter().all(Result::is_ok));
}

fn numbers(items: &[Item<Ping>]) -> String {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
    numbers.join(" ")
}

/// Those that are divisible by 10 fail for good, by 5 for now.
fn answer(n: u64) -> Result<(), Failure> {
    match n {
        _ if n.is_multiple_of(10) => Err(Failure::permanent("round")),
        _ if n.is_multiple_of(5) => Err(Failure::retryable("half round")),
        _ => Ok(()),
    }
}

fn judge(items: &[Item<Ping>]) -> BatchOutcome {
    let mut outcome = BatchOutcome::ok();
    for item in items {
        if let Err(failure) = answer(item.message.n) {
            outcome.fail(item, failure);
        }
    }
    outcome
}

async fn start(bus: BusBuilder<Memory>, log: &Log, endpoint: Endpoint) -> Bus {
    bus.state(log.clone()).endpoint(endpoint).start().await.unwrap()
}

#[tokio::test]
async fn messages_that_have_failed_are_charged_each_with_its_own_failure_and_the_others_are_acked()
{
    async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) -> BatchOutcome {
        log.add(numbers(&items));
        judge(&items)
    }
    let (world, log, told) = (World::new(), Log::default(), Log::default());
    let telling = told.clone();
    let endpoint = one_by_one()
        .on_failure(move |report| telling.add(format!("{} {}", report.attempt, report.failure)));
    let bus = start(world.bus(), &log, endpoint.handle_batch(keep)).await;
    send(&bus, [1, 5, 2, 10, 3]).await;
    idle().await;
    assert_eq!(log.take(), ["1 5 2 10 3"], "nobody runs again");
    assert_eq!(told.take(), ["1 half round", "1 round"]);
    assert_eq!(world.depth("q").await, [0, 0, 1, 1]);
    assert_eq!(world.in_queue("q").await[0].failures, 1);
    let death = world.dead("q").await[0].death.clone().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("permanent", 1));
    world.wind(10 * SECOND).await;
    assert_eq!((log.take(), told.take()), (vec!["5".into()], vec!["2 half round".into()]));
    assert_eq!(world.depth("q").await, [0, 0, 0, 2]);
}

#[tokio::test]
async fn answers_are_collected_in_the_order_of_the_items_and_another_number_fails_all() {
    async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<BatchOutcome, Failure> {
        log.add(numbers(&items));
        let answered = if items[0].message.n == 7 { items.len() - 1 } else { items.len() };
        Ok(items.iter().take(answered).map(|item| answer(item.message.n)).collect())
    }
    let (world, log, told) = (World::new(), Log::default(), Log::default());
    let telling = told.clone();
    let endpoint = one_by_one().on_failure(move |report| telling.add(report.failure.to_string()));
    let bus = start(world.bus(), &log, endpoint.handle_batch(keep)).await;
    send(&bus, [1, 10, 2]).await;
    idle().await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["1 10 2".into()], [0, 0, 0, 1]));
    send(&bus, [7, 8]).await;
    idle().await;
    assert_eq!(log.take(), ["7 8", "7", "8"], "halved");
    let failed = world.in_queue("q").await;
    assert_eq!((failed.len(), failed[0].failures), (1, 1));
    let told = told.take().pop().unwrap();
    assert!(told.contains("a batch of 1: its handler has collected 0 answers"), "{told}");
}

#[tokio::test]
async fn what_an_item_has_published_leaves_only_if_that_item_has_succeeded() {
    async fn publish(items: Vec<Item<Ping>>) -> Result<BatchOutcome, Failure> {
        for item in items.iter().rev() {
            item.publish(&Paid { n: item.message.n })?;
            item.send("end", &Paid { n: 100 + item.message.n })?;
        }
        let outcome = judge(&items);
        Ok(outcome)
    }
    async fn keep_paid(paid: Paid, State(log): State<Log>) {
        log.add(paid.n.to_string());
    }
    let (world, log) = (World::new(), Log::default());
    let end = Endpoint::new("end").subscribe::<Paid>().concurrency(1).handle(keep_paid);
    let bus = world.bus().endpoint(end);
    let bus = start(bus, &log, one_by_one().handle_batch(publish)).await;
    send(&bus, [1, 10, 2, 20, 3]).await;
    idle().await;
    assert_eq!(log.lines(), ["3", "103", "2", "102", "1", "101"]);
}

async fn write_all(
    items: Vec<Item<Ping>>,
    tx: Tx<Watched>,
    State(log): State<Log>,
) -> Result<BatchOutcome, Failure> {
    log.add(numbers(&items));
    for item in &items {
        let n = item.message.n;
        tx.write(move |db| {
            db.put(n.to_string(), db.get::<u32>(&n.to_string()).unwrap_or(0) + 1);
            db.publish(&Paid { n })
        })?;
        item.publish(&Paid { n: 100 + n })?;
    }
    Ok(judge(&items))
}

#[tokio::test]
async fn in_a_transaction_nothing_is_committed_of_those_that_have_failed_and_the_others_run_again()
{
    async fn keep_paid(paid: Paid, State(paids): State<Arc<AtomicUsize>>) {
        assert!(!paid.n.is_multiple_of(5), "{} has failed", paid.n);
        paids.fetch_add(1, SeqCst);
    }
    for name in ["here", "elsewhere"] {
        let (world, log, paids) = (World::new(), Log::default(), Arc::<AtomicUsize>::default());
        let is_here = name == "here";
        let store = Watched::on(if is_here { world.memory.clone() } else { world.other_memory() });
        let end = Endpoint::new("end").subscribe::<Paid>().handle(keep_paid);
        let bus = world.bus().store(store.clone()).state(paids.clone()).endpoint(end);
        let endpoint = one_by_one().transactional().handle_batch(write_all);
        let bus = start(bus, &log, endpoint).await;
        send(&bus, [1, 5, 2, 10, 3]).await;
        world.wind(SECOND).await;
        assert_eq!(log.take(), ["1 5 2 10 3", "1 2 3"], "{name}");
        let entries = store.memory.read(|db| db.entries::<u32>()).await;
        assert_eq!(entries, ["1", "2", "3"].map(|n| (n.to_owned(), 1)), "{name}");
        assert_eq!((paids.swap(0, SeqCst), store.open.load(SeqCst)), (6, 0), "{name}");
        assert_eq!(world.depth("q").await, [0, 0, 1, 1], "{name}");
        let ids = world.in_queue("q").await;
        assert_eq!(ids[0].failures, 1, "charged once, though it was in one run only");
    }
}

#[tokio::test]
async fn one_that_has_failed_has_no_inbox_row_and_is_handled_when_it_comes_again() {
    async fn second_time(
        items: Vec<Item<Ping>>,
        tx: Tx<Watched>,
        State(log): State<Log>,
    ) -> Result<BatchOutcome, Failure> {
        let mut outcome = BatchOutcome::ok();
        for item in items.iter().filter(|item| item.message.n == 2 && item.attempt == 1) {
            outcome.fail(item, Failure::retryable("not yet"));
        }
        log.add(numbers(&items));
        tx.write(move |db| {
            items.iter().for_each(|item| db.put(item.message.n.to_string(), item.attempt));
            Ok(())
        })?;
        Ok(outcome)
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.other_memory());
    let bus = world.bus().store(store.clone());
    let endpoint = one_by_one().transactional().handle_batch(second_time);
    let bus = start(bus, &log, endpoint).await;
    send(&bus, [1, 2]).await;
    world.wind(10 * SECOND).await;
    assert_eq!(log.take(), ["1 2", "1", "2"]);
    let entries = store.memory.read(|db| db.entries::<u32>()).await;
    assert_eq!(entries, [("1".to_owned(), 1), ("2".to_owned(), 2)]);
    assert_eq!(world.depth("q").await, [0; 4]);
}

#[tokio::test]
async fn an_outage_that_a_handler_answers_for_each_message_opens_the_breaker() {
    async fn down(items: Vec<Item<Ping>>, State(log): State<Log>) -> BatchOutcome {
        log.add(numbers(&items));
        items.iter().map(|_| Err::<(), _>(Failure::retryable("down"))).collect()
    }
    let (world, log) = (World::new(), Log::default());
    let breaker = CircuitBreaker::named("gateway").calls_min(1).build();
    let endpoint = one_by_one().batch(2, Duration::ZERO).circuit_breaker(&breaker);
    let bus = start(world.bus(), &log, endpoint.handle_batch(down)).await;
    send(&bus, [1, 2, 3, 4]).await;
    idle().await;
    assert_eq!(log.take(), ["1 2"]);
    assert_eq!(world.depth("q").await, [2, 0, 2, 0]);
}
