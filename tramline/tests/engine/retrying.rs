//! Retry policies: in place or through the transport, counted, and ended by a drain.

use crate::kit::{Log, Paid, Ping, SECOND, Watched, World, at_once, idle};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tramline::core::clock::Clock;
use tramline::core::name::QueueName;
use tramline::{Attempt, Endpoint, Failure, Outbox, Retry, State, Tx};

/// Fails until the run that `Ping::n` names.
async fn fail_until(ping: Ping, attempt: Attempt, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("run {}", attempt.0));
    if u64::from(attempt.0) < ping.n { Err(Failure::retryable("not yet")) } else { Ok(()) }
}

async fn start(world: &World, log: &Log, endpoint: Endpoint) -> tramline::Bus {
    world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap()
}

#[tokio::test]
async fn a_short_pause_is_slept_in_place() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::fixed(SECOND)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["run 1"]);
    assert_eq!(world.depth("q").await, [0, 1, 0, 0], "it is held, not in the queue");
    world.wind(SECOND / 2).await;
    assert_eq!(log.lines(), ["run 1"]);
    world.wind(SECOND / 2).await;
    assert_eq!(log.lines(), ["run 1", "run 2"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_longer_pause_goes_through_the_transport_and_blocks_no_slot() {
    let (world, log) = (World::new(), Log::default());
    let pause = SECOND + Duration::from_millis(1);
    let endpoint = Endpoint::new("q").concurrency(1).retry(Retry::fixed(pause)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(world.depth("q").await, [0, 0, 1, 0]);
    let waiting = &world.in_queue("q").await[0];
    assert_eq!(waiting.failures, 1);
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.take(), ["run 1", "run 1"]);
    world.wind(pause).await;
    assert_eq!(log.lines(), ["run 2"]);
}

#[tokio::test]
async fn at_most_five_seconds_are_slept_in_place_for_one_delivery() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::fixed(SECOND).runs(100)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 100 }).await.unwrap();
    for _ in 0..5 {
        world.wind(SECOND).await;
    }
    assert_eq!(log.len(), 6);
    assert_eq!(world.depth("q").await, [0, 0, 1, 0], "the sixth pause is the transport's");
    assert_eq!(world.in_queue("q").await[0].failures, 6);
    world.wind(SECOND).await;
    assert_eq!(log.lines().last().unwrap(), "run 7");
}

#[tokio::test]
async fn at_most_half_the_slots_pause_in_place() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").concurrency(4).retry(Retry::fixed(SECOND)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    for _ in 0..4 {
        bus.send("q", &Ping { n: 2 }).await.unwrap();
    }
    idle().await;
    assert_eq!(log.len(), 4);
    assert_eq!(world.depth("q").await, [0, 2, 2, 0]);
    world.wind(SECOND).await;
    assert_eq!(log.len(), 8);
}

#[tokio::test]
async fn the_only_slot_never_pauses_in_place() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").concurrency(1).retry(Retry::fixed(SECOND)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(world.depth("q").await, [0, 0, 1, 0]);
}

#[tokio::test]
async fn an_immediate_retry_needs_no_clock() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::immediate(5)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 5 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["run 1", "run 2", "run 3", "run 4", "run 5"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn an_endless_immediate_retry_starves_nobody_and_records_its_failures() {
    let (world, log) = (World::new(), Log::default());
    let endpoint =
        Endpoint::new("q").concurrency(1).retry(Retry::immediate(u32::MAX)).handle(fail_until);
    let other = Endpoint::new("other").handle(fail_until);
    let bus = at_once(world.bus().state(log.clone()).endpoint(endpoint).endpoint(other).start())
        .await
        .unwrap();
    bus.send("q", &Ping { n: u64::MAX }).await.unwrap();
    bus.send("other", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert!(log.lines().iter().filter(|line| *line == "run 1").count() == 2, "others go on");
    assert!(log.lines().iter().any(|line| line == "run 1000"));
    assert!(world.in_queue("q").await[0].failures > 0, "some are recorded");
    let _drained = at_once(bus.drain(SECOND)).await.unwrap();
}

#[tokio::test]
async fn each_policy_asks_for_its_pauses() {
    let millis = Duration::from_millis;
    for (retry, pauses) in [
        (Retry::list([2 * SECOND, 3 * SECOND]), vec![2000, 3000]),
        (Retry::incremental(2 * SECOND, SECOND).runs(4), vec![2000, 3000, 4000]),
        (Retry::exponential(2 * SECOND).max(5 * SECOND).runs(4), vec![2000, 4000, 5000]),
        (Retry::fixed(3 * SECOND).runs(3), vec![3000, 3000]),
        (Retry::none(), vec![]),
    ] {
        let (world, log) = (World::new(), Log::default());
        let bus = start(&world, &log, Endpoint::new("q").retry(retry).handle(fail_until)).await;
        bus.send("q", &Ping { n: 100 }).await.unwrap();
        idle().await;
        for (runs, pause) in pauses.iter().enumerate() {
            assert_eq!(log.len(), runs + 1);
            world.wind(millis(*pause) - millis(1)).await;
            assert_eq!(log.len(), runs + 1, "not before the pause is over");
            world.wind(millis(1)).await;
        }
        assert_eq!(log.len(), pauses.len() + 1);
        assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
    }
}

#[tokio::test]
async fn failures_are_counted_across_pauses_in_place_and_through_the_transport() {
    let (world, log) = (World::new(), Log::default());
    let retry = Retry::list([SECOND, 10 * SECOND, SECOND, 10 * SECOND]);
    let reported = Log::default();
    let told = reported.clone();
    let endpoint = Endpoint::new("q")
        .retry(retry)
        .on_failure(move |report| told.add(format!("{} {}", report.attempt, report.failure)))
        .handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 100 }).await.unwrap();
    for pause in [1, 10, 1, 10] {
        world.wind(pause * SECOND).await;
    }
    assert_eq!(log.lines(), ["run 1", "run 2", "run 3", "run 4", "run 5"]);
    let told = ["1 not yet", "2 not yet", "3 not yet", "4 not yet", "5 not yet"];
    assert_eq!(reported.lines(), told);
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 5));
}

#[tokio::test]
async fn a_failed_run_is_reported_when_it_fails_and_not_after_its_pause() {
    let (world, log, told) = (World::new(), Log::default(), Log::default());
    let hook = told.clone();
    let endpoint = Endpoint::new("q")
        .retry(Retry::fixed(SECOND))
        .on_failure(move |report| hook.add(format!("{}", report.attempt)))
        .handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(told.lines(), ["1"]);
    world.wind(SECOND).await;
    assert_eq!(told.lines(), ["1"]);
}

#[tokio::test]
async fn the_policy_can_depend_on_the_error() {
    #[derive(Debug)]
    struct Declined;
    impl std::fmt::Display for Declined {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("declined")
        }
    }
    impl std::error::Error for Declined {}
    async fn handle(ping: Ping, State(log): State<Log>) -> Result<(), Failure> {
        log.add(format!("ping {}", ping.n));
        match ping.n {
            1 => Err(Declined.into()),
            2 => Err(Failure::retryable("odd")),
            _ => Err(Failure::retryable("other")),
        }
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q")
        .concurrency(1)
        .retry(Retry::immediate(3))
        .retry_on::<Declined>(Retry::none())
        .retry_when(|failure| failure.to_string() == "odd", Retry::immediate(2))
        .handle(handle);
    let bus = start(&world, &log, endpoint).await;
    for n in 1..=3 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert_eq!(log.lines(), ["ping 1", "ping 2", "ping 2", "ping 3", "ping 3", "ping 3"]);
}

#[tokio::test]
async fn a_policy_test_that_panics_is_not_meant_for_the_error() {
    let (world, log) = (World::new(), Log::default());
    for pause in [Duration::ZERO, 2 * SECOND] {
        let endpoint = Endpoint::new("q")
            .retry_when(|_| panic!("in a test of an error"), Retry::none())
            .retry(Retry::fixed(pause).runs(2))
            .handle(fail_until);
        let bus = start(&world, &log, endpoint).await;
        bus.send("q", &Ping { n: 100 }).await.unwrap();
        world.wind(pause).await;
        assert_eq!(log.take(), ["run 1", "run 2"]);
        let _drained = bus.drain(SECOND).await.unwrap();
    }
    assert_eq!(world.depth("q").await, [0, 0, 0, 2]);
}

#[tokio::test]
async fn no_transaction_is_open_while_a_retry_pauses() {
    async fn fail(_: Ping, _tx: Tx<Watched>) -> Result<(), Failure> {
        Err(Failure::retryable("no"))
    }
    async fn hang(_: Ping, _tx: Tx<Watched>) {
        std::future::pending().await
    }
    let world = World::new();
    let store = Watched::on(world.memory.clone());
    let endpoint = |name| Endpoint::new(name).transactional().retry(Retry::fixed(SECOND));
    let bus = world
        .bus()
        .store(store.clone())
        .endpoint(endpoint("fails").handle(fail))
        .endpoint(endpoint("hangs").time_limit(SECOND).handle(hang))
        .start()
        .await
        .unwrap();
    bus.send("fails", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(world.depth("fails").await, [0, 1, 0, 0], "it pauses in place");
    assert_eq!(store.open.load(SeqCst), 0);

    bus.send("hangs", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(store.open.load(SeqCst), 1);
    world.wind(SECOND).await;
    let _drained = bus.drain(SECOND).await;
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn a_drain_ends_a_pause_in_place_and_the_failure_is_recorded() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::fixed(SECOND)).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(world.depth("q").await, [0, 1, 0, 0]);
    let drained = at_once(bus.drain(60 * SECOND)).await.unwrap();
    assert_eq!(drained, tramline::Drained::Clean);
    let waiting = &world.in_queue("q").await[0];
    assert_eq!(waiting.failures, 1);
    assert!(waiting.due.is_some(), "it keeps the pause that it had");
    assert_eq!(log.lines(), ["run 1"]);
}

#[tokio::test]
async fn a_lost_lease_drops_the_handler_and_settles_nothing() {
    async fn hang(_: Ping, attempt: Attempt, State(log): State<Log>) {
        struct Gone(Log);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.add("dropped");
            }
        }
        let _guard = Gone(log.clone());
        log.add(format!("run {}", attempt.0));
        std::future::pending::<()>().await;
    }
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, Endpoint::new("q").handle(hang)).await;
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(world.memory.expire_leases(&QueueName::new("q").unwrap()), 1);
    idle().await;
    let mut lines = log.lines();
    lines.sort();
    assert_eq!(lines, ["dropped", "run 1", "run 1"], "uncharged, and handled again");
    assert_eq!(world.depth("q").await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn what_could_not_be_published_after_success_is_a_failure() {
    async fn publish(ping: Ping, outbox: Outbox, State(log): State<Log>) -> Result<(), Failure> {
        log.add("run");
        outbox.publish(&Paid { n: ping.n })?;
        outbox.publish(&Paid { n: ping.n })
    }
    use crate::kit::Answer;
    for answer in [Answer::Refuse, Answer::Unknown, Answer::TooFew] {
        let (world, log) = (World::new(), Log::default());
        let rigged = world.rigged();
        let endpoint = Endpoint::new("q").retry(Retry::fixed(2 * SECOND)).handle(publish);
        let bus = world
            .bus_on(rigged.clone())
            .state(log.clone())
            .endpoint(endpoint)
            .start()
            .await
            .unwrap();
        bus.send("q", &Ping { n: 1 }).await.unwrap();
        rigged.rig.answers.lock().push_back(answer);
        idle().await;
        assert_eq!(world.in_queue("q").await[0].failures, 1, "{answer:?}");
        world.wind(2 * SECOND).await;
        assert_eq!(log.len(), 2, "{answer:?}");
        assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
    }
}

#[tokio::test]
async fn jitter_draws_from_the_entropy_of_the_bus() {
    let (world, log) = (World::new(), Log::default());
    let retry = Retry::fixed(100 * SECOND).jitter();
    let bus = start(&world, &log, Endpoint::new("q").retry(retry).handle(fail_until)).await;
    for _ in 0..20 {
        bus.send("q", &Ping { n: 2 }).await.unwrap();
    }
    idle().await;
    let mut dues: Vec<_> = world.in_queue("q").await.iter().filter_map(|row| row.due).collect();
    dues.dedup();
    assert!(dues.len() > 10, "they do not come back together");
}

#[tokio::test]
async fn failures_in_place_leave_their_notes_too() {
    let (world, log) = (World::new(), Log::default());
    let retry = Retry::list([SECOND, SECOND, 60 * SECOND]);
    let endpoint = Endpoint::new("q").retry(retry).handle(fail_until);
    let bus = start(&world, &log, endpoint).await;
    bus.send("q", &Ping { n: 100 }).await.unwrap();
    let began = world.clock.now();
    for pause in [SECOND, SECOND, 60 * SECOND] {
        world.wind(pause).await;
    }
    let death = world.dead("q").await[0].death.clone().unwrap();
    let notes: Vec<_> = death.history.notes().iter().map(|note| (note.failure, note.at)).collect();
    let at = |seconds| began.after(seconds * SECOND);
    assert_eq!(notes, [(1, at(0)), (2, at(1)), (3, at(2)), (4, at(62))]);
    assert_eq!(death.first_failed_at, Some(began));
}
