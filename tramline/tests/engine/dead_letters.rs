//! What was not handled is kept with its reason, told of, and can be put back.

use crate::kit::{Log, Order, Ping, SECOND, World, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tramline::core::operate::{Peeked, Redrive, Selection};
use tramline::{Attempt, Endpoint, Failure, Filter, Retry, State};

async fn fail(ping: Ping, attempt: Attempt) -> Result<(), Failure> {
    let io = std::io::Error::other(format!("gateway down, run {}", attempt.0));
    if ping.n == 0 { Err(Failure::permanent("nothing to charge")) } else { Err(io.into()) }
}

#[tokio::test]
async fn an_exhausted_message_is_kept_with_failures_notes_and_times() {
    let world = World::new();
    let endpoint = Endpoint::new("q").retry(Retry::fixed(10 * SECOND).runs(3)).handle(fail);
    let bus = world.bus().endpoint(endpoint).start().await.unwrap();
    let begin = tramline::core::clock::Clock::now(&world.clock);
    let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
    world.wind(10 * SECOND).await;
    world.wind(10 * SECOND).await;
    let dead = world.dead("q").await;
    assert_eq!(dead[0].envelope.id, Some(id));
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 3));
    let notes: Vec<_> = death.history.notes().iter().map(|n| (n.failure, &*n.error)).collect();
    let expected =
        [(1, "gateway down, run 1"), (2, "gateway down, run 2"), (3, "gateway down, run 3")];
    assert_eq!(notes, expected);
    assert_eq!(death.first_failed_at, Some(begin));
    assert_eq!(death.failed_at, begin.after(20 * SECOND));
}

/// More than a page, and a writer that has room for some of them.
#[tokio::test]
async fn all_dead_letters_are_exported_in_order_or_the_writer_is_blamed() {
    let world = World::new();
    let bus = world.bus().endpoint(Endpoint::new("q").handle(fail)).start().await.unwrap();
    for _ in 0..50 {
        bus.send("q", &Ping { n: 0 }).await.unwrap();
    }
    idle().await;
    let dead = world.dead("q").await;
    assert_eq!(dead.len(), 50);
    let mut file = Vec::new();
    assert_eq!(bus.dead_letters("q").unwrap().export(&mut file).await.unwrap(), 50);
    let text = String::from_utf8(file).unwrap();
    assert!(text.ends_with('\n'));
    let read: Vec<Peeked> =
        text.lines().map(|line| Peeked::from_json_line(line).unwrap()).collect();
    assert_eq!(read, dead);

    let mut small = vec![0; text.len() - 1];
    let mut small = std::io::Cursor::new(&mut small[..]);
    let error = bus.dead_letters("q").unwrap().export(&mut small).await.unwrap_err();
    assert!(error.to_string().contains("write the dead letters of queue q"), "{error}");
    assert_eq!(world.dead("q").await, dead);
}

#[tokio::test]
async fn a_permanent_failure_is_dead_after_one_run() {
    let world = World::new();
    let bus = world.bus().endpoint(Endpoint::new("q").handle(fail)).start().await.unwrap();
    bus.send("q", &Ping { n: 0 }).await.unwrap();
    idle().await;
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("permanent", 1));
    assert_eq!(death.history.notes()[0].error, "nothing to charge");
}

#[tokio::test]
async fn an_undecodable_body_is_dead_at_once() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct WrongPing {
        n: String,
    }
    impl tramline::Message for WrongPing {
        const NAME: &'static str = "ping";
    }
    let (world, reasons) = (World::new(), Log::default());
    let told = reasons.clone();
    let endpoint = Endpoint::new("q")
        .on_failure(move |report| told.add(report.failure.to_string()))
        .handle(fail);
    let bus = world.bus().endpoint(endpoint).start().await.unwrap();
    bus.send("q", &WrongPing { n: "seven".to_owned() }).await.unwrap();
    idle().await;
    let dead = world.dead("q").await;
    assert_eq!(dead[0].death.as_ref().unwrap().reason.as_str(), "undecodable");
    assert!(reasons.lines()[0].starts_with("failed to decode ping: "), "{:?}", reasons.lines());
}

#[tokio::test]
async fn an_expired_message_is_dead_and_charged_nothing() {
    let (world, log) = (World::new(), Log::default());
    async fn keep(_: Order, State(log): State<Log>) {
        log.add("run");
    }
    let endpoint =
        || Endpoint::new("q").subscribe_where::<Order>(Filter::sql("total > 100")).handle(keep);
    let bus = world.bus().state(log.clone()).endpoint(endpoint()).start().await.unwrap();
    let _drained = bus.drain(SECOND).await.unwrap();
    let bus = world.bus().publishes::<Order>().start().await.unwrap();
    bus.publish(&Order::of(1000)).ttl(5 * SECOND).await.unwrap();
    world.wind(5 * SECOND).await;
    let _bus = world.bus().state(log.clone()).endpoint(endpoint()).start().await.unwrap();
    idle().await;
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("expired", 0));
    assert_eq!(log.len(), 0);
}

#[tokio::test]
async fn a_callback_hears_of_every_failure_and_a_hook_of_the_dead_letter_once_it_is_safe() {
    let (world, log) = (World::new(), Log::default());
    let memory = world.memory.clone();
    let (first, second, third) = (log.clone(), log.clone(), log.clone());
    let endpoint = Endpoint::new("q")
        .retry(Retry::immediate(2))
        .on_failure(move |report| second.add(format!("endpoint: {}", report.attempt)))
        .handle(fail);
    let bus = world
        .bus()
        .endpoint(endpoint)
        .on_failure(move |report| first.add(format!("bus: {}", report.attempt)))
        .on_dead_letter(move |report| {
            let (log, memory) = (third.clone(), memory.clone());
            async move {
                use tramline::core::operate::Operate;
                let dead = memory.depth(&report.queue).await.unwrap().dead;
                let (name, reason) = (report.envelope.name.clone().unwrap(), report.reason);
                let error = report.error.unwrap();
                let failures = report.failures;
                log.add(format!("{name} {reason} {failures} {error}, {dead} there"));
            }
        })
        .start()
        .await
        .unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let expected = [
        "bus: 1",
        "endpoint: 1",
        "bus: 2",
        "endpoint: 2",
        "ping exhausted 2 gateway down, run 2, 1 there",
    ];
    assert_eq!(log.lines(), expected);
}

#[tokio::test]
async fn hooks_that_panic_harm_nobody() {
    let (world, log) = (World::new(), Log::default());
    let (failures, letters) = (log.clone(), log.clone());
    let endpoint = Endpoint::new("q")
        .retry(Retry::immediate(2))
        .on_failure(|_| panic!("in a callback"))
        .on_failure(move |report| failures.add(format!("failure {}", report.attempt)))
        .on_dead_letter(|report| async move { panic!("in the future for {}", report.endpoint) })
        .on_dead_letter(|report| -> std::future::Ready<()> {
            panic!("before any future for {}", report.endpoint)
        })
        .on_dead_letter(move |_| {
            letters.add("letter");
            async {}
        })
        .handle(fail);
    let bus = world.bus().endpoint(endpoint).start().await.unwrap();
    for n in 1..=2 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert_eq!(log.lines().iter().filter(|line| *line == "letter").count(), 2);
    assert_eq!(log.len(), 6);
    assert_eq!(world.depth("q").await, [0, 0, 0, 2]);
}

#[tokio::test]
async fn a_hook_that_never_ends_keeps_no_slot_and_a_drain_goes_on_without_it() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q")
        .concurrency(1)
        .retry(Retry::none())
        .on_dead_letter(|_| std::future::pending())
        .handle(fail);
    let bus = world.bus().state(log).endpoint(endpoint).start().await.unwrap();
    for n in 1..=3 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert_eq!(world.depth("q").await, [0, 0, 0, 3]);
    let drain = tokio::spawn(async move { bus.drain(SECOND).await });
    world.wind(SECOND).await;
    assert!(drain.is_finished(), "what is cut short waits for no hook");
}

#[tokio::test]
async fn dead_letters_are_redriven_all_or_by_id_and_start_anew() {
    async fn mend(
        ping: Ping,
        attempt: Attempt,
        State(log): State<Log>,
        State(works): State<Arc<AtomicBool>>,
    ) -> Result<(), Failure> {
        log.add(format!("ping {} run {}", ping.n, attempt.0));
        if works.load(SeqCst) { Ok(()) } else { Err(Failure::permanent("broken")) }
    }
    let (world, log, works) = (World::new(), Log::default(), Arc::new(AtomicBool::new(false)));
    let endpoint = Endpoint::new("q").concurrency(1).handle(mend);
    let bus = world
        .bus()
        .state(log.clone())
        .state(works.clone())
        .endpoint(endpoint)
        .start()
        .await
        .unwrap();
    let mut ids = Vec::new();
    for n in 1..=4 {
        ids.push(bus.send("q", &Ping { n }).ttl(60 * SECOND).await.unwrap().id);
    }
    idle().await;
    let letters = bus.dead_letters("q").unwrap();
    assert_eq!(letters.peek(None, 10).await.unwrap().len(), 4);
    assert_eq!(letters.find(&ids[2]).await.unwrap().unwrap().envelope.id, Some(ids[2].clone()));
    let groups = letters.groups().await.unwrap();
    assert_eq!((&*groups[0].name, &*groups[0].reason, groups[0].count), ("ping", "permanent", 4));
    log.take();

    works.store(true, SeqCst);
    // Long after they have expired: a redrive clears that.
    world.wind(3600 * SECOND).await;
    assert_eq!(letters.redrive_ids([ids[2].clone()]).await.unwrap(), 1);
    idle().await;
    assert_eq!(log.take(), ["ping 3 run 1"]);
    let selection = Selection::Matching(Filter::sql("n = 1"));
    let dry = Redrive { dry_run: true, selection, rate: None };
    assert_eq!(letters.redrive(dry).await.unwrap(), 1);
    assert_eq!(letters.redrive_all().await.unwrap(), 3);
    idle().await;
    assert_eq!(log.lines(), ["ping 1 run 1", "ping 2 run 1", "ping 4 run 1"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
    assert_eq!(letters.redrive_all().await.unwrap(), 0);
    assert!(bus.dead_letters("No Name").is_err());
}

#[tokio::test]
async fn a_redriven_message_goes_to_its_queue_alone_past_filters_and_past_its_own_failure() {
    async fn second_time(
        order: Order,
        State(log): State<Log>,
        State(works): State<Arc<AtomicBool>>,
    ) -> Result<(), Failure> {
        log.add(format!("order {}", order.n));
        if works.load(SeqCst) { Ok(()) } else { Err(Failure::permanent("broken")) }
    }
    async fn other(order: Order, State(log): State<Log>) {
        log.add(format!("other {}", order.n));
    }
    let (world, log, works) = (World::new(), Log::default(), Arc::new(AtomicBool::new(false)));
    let endpoint = |filter| {
        Endpoint::new("q")
            .transactional()
            .subscribe_where::<Order>(Filter::sql(filter))
            .handle(second_time)
    };
    let make = |filter| {
        world
            .bus()
            .store(world.memory.clone())
            .state(log.clone())
            .state(works.clone())
            .endpoint(endpoint(filter))
            .endpoint(Endpoint::new("other").subscribe::<Order>().handle(other))
    };
    let bus = make("n = 1").start().await.unwrap();
    bus.publish(&Order::of(1)).idempotency_key("once").await.unwrap();
    idle().await;
    let mut lines = log.take();
    lines.sort();
    assert_eq!(lines, ["order 1", "other 1"]);
    let _drained = bus.drain(SECOND).await.unwrap();

    works.store(true, SeqCst);
    let bus = make("n = 2").start().await.unwrap();
    assert_eq!(bus.dead_letters("q").unwrap().redrive_all().await.unwrap(), 1);
    idle().await;
    assert_eq!(log.lines(), ["order 1"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}
