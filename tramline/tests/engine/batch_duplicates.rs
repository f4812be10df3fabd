//! The same message more than once in a batch.

use crate::kit::{Log, Ping, SECOND, Watched, World, idle};
use std::time::Duration;
use tramline::{Bus, Draft, Endpoint, Failure, Item, MessageId, Retry, State, Tx};

fn one_by_one() -> Endpoint {
    Endpoint::new("q")
        .concurrency(1)
        .retry(Retry::fixed(10 * SECOND).runs(2))
        .batch(10, Duration::ZERO)
}

fn seen(items: &[Item<Ping>]) -> String {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
    numbers.join(" ")
}

async fn write(
    items: Vec<Item<Ping>>,
    tx: Tx<Watched>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    log.add(seen(&items));
    tx.write(move |db| {
        for n in items.iter().map(|item| item.message.n.to_string()) {
            db.put(n.clone(), db.get::<u32>(&n).unwrap_or(0) + 1);
        }
        Ok(())
    })
}

/// Sends a 1 as `id` three times, and between those a 2 and a 3 under one idempotency key each, twice.
async fn send_again(bus: &Bus) {
    let [one, two, three] = [1, 2, 3].map(|n| Ping { n });
    let same = || Draft::of(&one).id("same".parse::<MessageId>().unwrap());
    let keyed = |ping, key: &str| Draft::of(ping).idempotency_key(key);
    let drafts = [
        same(),
        keyed(&two, "b"),
        same(),
        keyed(&three, "c"),
        keyed(&two, "b"),
        keyed(&three, "c"),
        same(),
    ];
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn of_what_is_in_a_batch_more_than_once_the_handler_sees_one_and_all_are_acked() {
    for is_here in [true, false] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(if is_here { world.memory.clone() } else { world.other_memory() });
        let endpoint = one_by_one().transactional().handle_batch(write);
        let bus = world.bus().store(store.clone()).state(log.clone()).endpoint(endpoint);
        let bus = bus.start().await.unwrap();
        send_again(&bus).await;
        idle().await;
        assert_eq!(log.take(), ["1 2 3"]);
        assert_eq!(world.depth("q").await, [0; 4], "acked at once");
        send_again(&bus).await;
        idle().await;
        assert_eq!(world.depth("q").await, [0; 4]);
        let entries = store.memory.read(|db| db.entries::<u32>()).await;
        let once = ["1", "2", "3"].map(|n| (n.to_owned(), 1));
        assert_eq!(entries, once, "each has its inbox row");
    }
}

#[tokio::test]
async fn without_a_transaction_they_are_one_item_too() {
    async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) {
        log.add(seen(&items));
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world.bus().state(log.clone()).endpoint(one_by_one().handle_batch(keep));
    let bus = bus.start().await.unwrap();
    send_again(&bus).await;
    idle().await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["1 2 3".into()], [0; 4]));
}

#[tokio::test]
async fn without_an_inbox_one_id_is_not_enough_to_be_the_same() {
    async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) {
        log.add(seen(&items));
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world.bus().state(log.clone()).endpoint(one_by_one().handle_batch(keep));
    let bus = bus.start().await.unwrap();
    let pings = [1, 2, 1].map(|n| Ping { n });
    let drafts = pings.iter().map(|ping| Draft::of(ping).id("same".parse().unwrap()));
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
    idle().await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["1 2".into()], [0; 4]));
}

#[tokio::test]
async fn a_key_that_is_used_again_in_a_batch_for_another_body_is_no_duplicate() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let endpoint = one_by_one().transactional().handle_batch(write);
    let bus = world.bus().store(store).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    let pings = [1, 2].map(|n| Ping { n });
    let drafts = pings.iter().map(|ping| Draft::of(ping).idempotency_key("order"));
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
    idle().await;
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["1"]);
    assert_eq!(world.dead("q").await[0].death.as_ref().unwrap().reason.as_str(), "key reused");
    assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn where_the_one_that_was_seen_fails_the_others_come_again_uncharged() {
    async fn fail(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<(), Failure> {
        log.add(seen(&items));
        Err(Failure::permanent("bad"))
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world.bus().state(log.clone()).endpoint(one_by_one().handle_batch(fail));
    let bus = bus.start().await.unwrap();
    let ping = Ping { n: 1 };
    let draft = || Draft::of(&ping).id("same".parse().unwrap());
    assert!(bus.send_all("q", [draft(), draft()]).await.iter().all(Result::is_ok));
    idle().await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["1".into()], [0, 0, 1, 1]));
    assert_eq!(world.in_queue("q").await[0].failures, 0);
    world.wind(SECOND).await;
    assert_eq!((log.take(), world.depth("q").await), (vec!["1".into()], [0, 0, 0, 2]));
}
