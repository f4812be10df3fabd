//! Order by key on a transport that does not lock keys.

use crate::kit::{Log, Order, Ping, Rigged, SECOND, World, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Semaphore;
use tramline::{
    Attempt, Bus, Drained, Endpoint, Failure, HeldTooLong, Item, MessageId, Ordering, QueueName,
    Retry, State,
};

/// Handlers of these wait here.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn open(&self) {
        self.0.add_permits(1);
    }
}

/// Numbers that fail in their first two runs.
const FAILING: std::ops::Range<u64> = 100..200;
/// Numbers that never succeed.
const HOPELESS: std::ops::Range<u64> = 200..300;
/// Numbers that wait at the gate.
const GATED: std::ops::Range<u64> = 300..500;
/// Numbers that fail in their first run, once they are through the gate.
const FAILING_ONCE: std::ops::Range<u64> = 400..500;

async fn work(
    ping: Ping,
    Attempt(attempt): Attempt,
    State(log): State<Log>,
    State(gate): State<Gate>,
) -> Result<(), Failure> {
    log.add(format!("{} {attempt}", ping.n));
    if GATED.contains(&ping.n) {
        gate.0.acquire().await?.forget();
        log.add(format!("{} ends", ping.n));
    }
    let fails =
        FAILING.contains(&ping.n) && attempt < 3 || FAILING_ONCE.contains(&ping.n) && attempt < 2;
    if HOPELESS.contains(&ping.n) || fails {
        return Err(Failure::retryable(format!("failure {attempt}")));
    }
    Ok(())
}

struct Bench {
    world: World,
    rigged: Rigged,
    log: Log,
    gate: Gate,
}

impl Bench {
    fn new() -> Self {
        let world = World::with(|options| options.without_key_lock());
        let rigged = world.rigged();
        Self { world, rigged, log: Log::default(), gate: Gate::shut() }
    }

    async fn start(&self, endpoint: Endpoint) -> Bus {
        let bus = self.world.bus_on(self.rigged.clone());
        let bus = bus.state(self.log.clone()).state(self.gate.clone());
        bus.endpoint(endpoint).start().await.unwrap()
    }

    async fn wind(&self, seconds: u32) {
        self.world.wind(seconds * SECOND).await;
    }

    async fn depth(&self) -> [u64; 4] {
        self.world.depth("q").await
    }

    fn lose_leases(&self) {
        self.world.memory.expire_leases(&QueueName::new("q").unwrap());
    }
}

fn plain() -> Endpoint {
    Endpoint::new("q").ordering(Ordering::PerKey).retry(Retry::fixed(10 * SECOND).runs(3))
}

fn endpoint() -> Endpoint {
    plain().handle(work)
}

async fn send(bus: &Bus, key: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        let id: MessageId = n.to_string().parse().unwrap();
        bus.send("q", &Ping { n }).id(id).key(key).await.unwrap();
    }
    idle().await;
}

#[tokio::test]
async fn of_each_key_one_is_at_work_and_other_keys_go_on() {
    let bench = Bench::new();
    let bus = bench.start(endpoint().concurrency(4)).await;
    send(&bus, "a", [300, 1, 2]).await;
    send(&bus, "b", [3]).await;
    assert_eq!(bench.log.take(), ["300 1", "3 1"]);
    bench.gate.open();
    idle().await;
    assert_eq!(bench.log.take(), ["300 ends", "1 1", "2 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn the_next_of_a_key_begins_when_the_settlement_of_the_one_before_is_answered() {
    let bench = Bench::new();
    bench.rigged.rig.hanging_acks.store(1, SeqCst);
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [1, 2]).await;
    assert_eq!(bench.log.take(), ["1 1"]);
    bench.rigged.rig.release.notify_one();
    idle().await;
    assert_eq!(bench.log.take(), ["2 1"]);
}

#[tokio::test]
async fn a_pause_holds_its_key_and_no_slot() {
    let bench = Bench::new();
    let bus = bench.start(endpoint().concurrency(1)).await;
    send(&bus, "a", [100, 1]).await;
    send(&bus, "b", [2]).await;
    assert_eq!(bench.log.take(), ["100 1", "2 1"]);
    assert_eq!(bench.depth().await, [0, 2, 0, 0], "it is held unsettled");
    bench.wind(9).await;
    assert_eq!(bench.log.len(), 0);
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["100 2"]);
    bench.wind(10).await;
    assert_eq!(bench.log.take(), ["100 3", "1 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
    assert!(!bench.rigged.rig.log.lines().contains(&"retry".to_owned()));
}

#[tokio::test]
async fn those_that_wait_for_their_turn_take_no_slot_from_other_keys() {
    let bench = Bench::new();
    let bus = bench.start(endpoint().concurrency(2)).await;
    send(&bus, "a", 300..350).await;
    send(&bus, "b", 1..20).await;
    assert_eq!(bench.log.len(), 20);
    assert_eq!(bench.depth().await, [0, 50, 0, 0]);
}

#[tokio::test]
async fn what_went_wrong_while_it_was_held_is_in_the_dead_letter_and_the_key_goes_on() {
    for by_copy in [false, true] {
        let bench = Bench::new();
        let world = World::with(|options| match by_copy {
            true => options.without_key_lock().without_native_dead_letters(),
            false => options.without_key_lock(),
        });
        let bench = Bench { rigged: world.rigged(), world, ..bench };
        let bus = bench.start(endpoint()).await;
        send(&bus, "a", [200, 1]).await;
        bench.wind(10).await;
        bench.wind(10).await;
        assert_eq!(bench.log.take(), ["200 1", "200 2", "200 3", "1 1"]);
        let dead = bench.world.dead("q").await;
        let death = dead[0].death.as_ref().unwrap();
        assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 3));
        let notes: Vec<_> =
            death.history.notes().iter().map(|note| (note.failure, note.error.as_str())).collect();
        assert_eq!(notes, [(1, "failure 1"), (2, "failure 2"), (3, "failure 3")]);
    }
}

#[tokio::test]
async fn a_type_that_nobody_knows_waits_in_its_lane_until_its_time_is_over() {
    let bench = Bench::new();
    let bus = bench.start(endpoint().unhandled_after(20 * SECOND, 10 * SECOND)).await;
    bus.send("q", &Order::of(1)).key("a").await.unwrap();
    send(&bus, "a", [1]).await;
    bench.wind(10).await;
    assert_eq!((bench.log.len(), bench.depth().await), (0, [0, 2, 0, 0]));
    bench.wind(10).await;
    assert_eq!((bench.log.len(), bench.depth().await), (1, [0, 0, 0, 1]));
    let death = bench.world.dead("q").await[0].death.clone().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("unhandled", 0));
}

#[tokio::test]
async fn a_queue_in_order_is_one_lane_and_messages_without_a_key_are_in_none_by_key() {
    for (ordering, expected) in
        [(Ordering::PerQueue, vec!["100 1"]), (Ordering::PerKey, vec!["100 1", "1 1"])]
    {
        let bench = Bench::new();
        let retry = Retry::fixed(10 * SECOND);
        let endpoint = Endpoint::new("q").ordering(ordering).retry(retry).handle(work);
        let bus = bench.start(endpoint).await;
        bus.send("q", &Ping { n: 100 }).await.unwrap();
        bus.send("q", &Ping { n: 1 }).key("a").await.unwrap();
        idle().await;
        assert_eq!(bench.log.take(), expected);
        let delayed = u64::from(ordering == Ordering::PerKey);
        assert_eq!(bench.depth().await[2], delayed);
    }
}

#[tokio::test]
async fn a_batch_has_one_of_a_key() {
    async fn batch(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<(), Failure> {
        let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
        log.add(numbers.join(" "));
        match items.as_slice() {
            [item] if item.message.n == 100 && item.attempt < 2 => Err(Failure::retryable("alone")),
            [_] => Ok(()),
            _ if numbers.contains(&"100".to_owned()) => Err(Failure::retryable("in a batch")),
            _ => Ok(()),
        }
    }
    let bench = Bench::new();
    let endpoint = plain().concurrency(1).batch(10, SECOND).handle_batch(batch);
    let bus = bench.start(endpoint).await;
    send(&bus, "a", [1, 2]).await;
    send(&bus, "b", [3]).await;
    bench.wind(1).await;
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["1 3", "2"]);
    send(&bus, "a", [100, 4]).await;
    send(&bus, "b", [5]).await;
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["100 5", "100", "5"]);
    bench.wind(10).await;
    bench.wind(1).await;
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["100", "4"], "it was held, and what is behind it waited");
}

#[tokio::test]
async fn a_drain_returns_what_pauses_uncharged_and_then_what_is_behind_it() {
    let bench = Bench::new();
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [100, 1, 2]).await;
    let drained = at_once(bus.drain(60 * SECOND)).await.unwrap();
    assert_eq!(drained, Drained::Clean);
    assert_eq!(bench.rigged.rig.returned.take(), ["100", "1", "2"]);
    assert_eq!(bench.depth().await, [3, 0, 0, 0]);
    assert_eq!(bench.world.in_queue("q").await[0].failures, 0, "what only we knew is forgotten");
    bench.log.take();
    let _next = bench.start(endpoint()).await;
    bench.wind(10).await;
    bench.wind(10).await;
    assert_eq!(bench.log.take(), ["100 1", "100 2", "100 3", "1 1", "2 1"]);
}

#[tokio::test]
async fn what_is_behind_a_message_at_work_is_returned_when_that_has_ended() {
    for is_cut_short in [false, true] {
        let bench = Bench::new();
        bench.rigged.rig.prefetches.store(true, SeqCst);
        let bus = bench.start(endpoint().concurrency(1)).await;
        send(&bus, "a", [300, 1, 2]).await;
        let drain = tokio::spawn(async move { bus.drain(60 * SECOND).await.unwrap() });
        idle().await;
        assert_eq!(bench.rigged.rig.returned.len(), 0);
        if is_cut_short {
            bench.wind(60).await;
            assert_eq!(bench.rigged.rig.returned.take(), ["300", "1", "2"]);
        } else {
            bench.gate.open();
            idle().await;
            assert_eq!(bench.rigged.rig.returned.take(), ["1", "2"]);
        }
        assert!(drain.is_finished());
        assert_eq!(bench.log.len(), if is_cut_short { 1 } else { 2 }, "nothing new begins");
    }
}

#[tokio::test]
async fn a_lost_lease_ends_a_pause_and_everything_comes_again_in_order() {
    let bench = Bench::new();
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [100, 1]).await;
    assert_eq!(bench.log.take(), ["100 1"]);
    bench.lose_leases();
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["100 1"], "somebody else would have handled it by now");
    bench.wind(10).await;
    bench.wind(10).await;
    assert_eq!(bench.log.take(), ["100 2", "100 3", "1 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_is_lost_while_it_waits_for_its_turn_is_not_handled() {
    let bench = Bench::new();
    let bus = bench.start(endpoint()).await;
    bench.rigged.rig.hanging_acks.store(1, SeqCst);
    send(&bus, "a", [1, 2, 3]).await;
    bench.lose_leases();
    idle().await;
    assert_eq!(bench.log.take(), ["1 1"], "its settlement is not answered yet");
    bench.rigged.rig.release.notify_one();
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["1 1", "2 1", "3 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn nothing_overtakes_a_message_that_ended_unsettled() {
    let bench = Bench::new();
    bench.rigged.rig.prefetches.store(true, SeqCst);
    bench.rigged.rig.hanging_acks.store(1, SeqCst);
    bench.rigged.rig.failing_acks.store(1, SeqCst);
    let bus = bench.start(endpoint().concurrency(1)).await;
    send(&bus, "a", [1]).await;
    for (key, n) in [("a", 2), ("c", 300), ("a", 3)] {
        let id: MessageId = n.to_string().parse().unwrap();
        bus.send("q", &Ping { n }).id(id).key(key).await.unwrap();
    }
    idle().await;
    assert_eq!(bench.log.take(), ["1 1", "300 1"], "2 is in its lane, and 3 still in the receiver");
    bench.rigged.rig.release.notify_one();
    idle().await;
    bench.gate.open();
    idle().await;
    assert_eq!(bench.rigged.rig.returned.take(), ["2", "3"]);
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["300 ends", "1 1", "2 1", "3 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_would_be_held_too_long_becomes_what_the_endpoint_says() {
    for (answer, depth, runs) in [
        (HeldTooLong::DeadLetter, [0, 0, 0, 1], vec!["100 1", "100 2", "1 1"]),
        (HeldTooLong::LetGo, [0, 0, 1, 0], vec!["100 1", "100 2", "1 1"]),
    ] {
        let bench = Bench::new();
        *bench.rigged.rig.hold_max.lock() = Some(15 * SECOND);
        let bus = bench.start(endpoint().when_held_too_long(answer)).await;
        send(&bus, "a", [100, 1]).await;
        bench.wind(10).await;
        assert_eq!(
            (bench.log.take(), bench.depth().await),
            (runs.iter().map(|run| run.to_string()).collect(), depth),
            "{answer:?}"
        );
        match answer {
            HeldTooLong::DeadLetter => {
                let death = bench.world.dead("q").await[0].death.clone().unwrap();
                assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 2));
                assert_eq!(death.history.notes().len(), 2);
            }
            HeldTooLong::LetGo => {
                let waiting = bench.world.in_queue("q").await;
                assert_eq!(waiting[0].failures, 2);
                bench.wind(10).await;
                assert_eq!(bench.log.take(), ["100 3"]);
            }
        }
    }
}

#[tokio::test]
async fn a_message_whose_wait_for_its_turn_took_too_long_begins_anew() {
    let bench = Bench::new();
    *bench.rigged.rig.hold_max.lock() = Some(25 * SECOND);
    let endpoint = endpoint().unhandled_after(SECOND, SECOND);
    let bus = bench.start(endpoint).await;
    send(&bus, "a", [300, 100, 1]).await;
    bench.wind(20).await;
    bench.gate.open();
    idle().await;
    assert_eq!(bench.log.take(), ["300 1", "300 ends", "100 1"]);
    assert_eq!(bench.rigged.rig.returned.take(), ["100", "1"]);
    bench.wind(1).await;
    bench.wind(10).await;
    bench.wind(10).await;
    assert_eq!(bench.log.take(), ["100 1", "100 2", "100 3", "1 1"]);
}

#[tokio::test]
async fn what_was_taken_by_a_receiver_that_failed_stays_before_what_the_next_one_takes() {
    let bench = Bench::new();
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [300, 1]).await;
    bench.rigged.rig.broken_receivers.store(1, SeqCst);
    send(&bus, "b", [5]).await;
    send(&bus, "a", [2]).await;
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["300 1", "5 1"]);
    bench.gate.open();
    bench.wind(1).await;
    assert_eq!(bench.log.take(), ["300 ends", "1 1", "2 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_suspect_in_a_lane_is_handled_alone_and_its_key_goes_on_when_it_is_poison() {
    let bench = Bench::new();
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [300, 1]).await;
    for _ in 0..5 {
        // Nobody hears the end of it.
        assert_eq!(bench.log.take(), ["300 1"]);
        bench.lose_leases();
        bench.wind(1).await;
    }
    let death = bench.world.dead("q").await[0].death.clone().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("poison", 0));
    assert_eq!(bench.log.take(), ["1 1"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_suspect_that_fails_in_its_lane_is_acquitted_there() {
    let bench = Bench::new();
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [400, 1]).await;
    for _ in 0..2 {
        assert_eq!(bench.log.take(), ["400 1"]);
        bench.lose_leases();
        bench.wind(1).await;
    }
    send(&bus, "b", [301]).await;
    assert_eq!(bench.log.take(), ["400 1"], "nothing runs beside a suspect");
    bench.gate.open();
    idle().await;
    assert_eq!(bench.log.take(), ["400 ends", "301 1"], "while it pauses, others are at work");
    bench.wind(10).await;
    assert_eq!(bench.log.take(), ["400 2"], "and it runs beside them");
    bench.gate.open();
    bench.gate.open();
    bench.wind(1).await;
    let mut lines = bench.log.take();
    lines.sort();
    assert_eq!(lines, ["1 1", "301 ends", "400 ends"]);
    assert_eq!(bench.depth().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn where_the_broker_locks_keys_it_holds_them_and_there_are_no_lanes() {
    let world = World::new();
    let rigged = world.rigged();
    let bench = Bench { world, rigged, log: Log::default(), gate: Gate::shut() };
    let bus = bench.start(endpoint()).await;
    send(&bus, "a", [100, 1]).await;
    assert_eq!(bench.log.take(), ["100 1"]);
    let settled = bench.rigged.rig.log.lines().into_iter().filter(|line| line == "retry");
    assert_eq!((settled.count(), bench.depth().await[1]), (1, 0), "nothing is held unsettled");
    bench.wind(10).await;
    bench.wind(10).await;
    assert_eq!(bench.log.take(), ["100 2", "100 3", "1 1"]);
}
