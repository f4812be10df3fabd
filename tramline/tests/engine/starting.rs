//! `start()` reports everything that is wrong, and declares before it accepts work.

use crate::kit::{Log, Order, Paid, Ping, SECOND, World, Written, alone, at_once, idle};
use std::time::Duration;
use tramline::core::operate::Operate;
use tramline::{
    Attempt, Endpoint, ErrorKind, Failure, Filter, HeldTooLong, Item, Memory, Ordering, QueueName,
    QueueSpec, Retry, Scoped, State, Tx,
};

async fn handle(_: Ping) {}
async fn handle_again(_: Ping) {}
async fn handle_order(_: Order) {}
async fn with_state(_: Ping, State(_): State<String>) {}
async fn with_scope(_: Ping, _: Scoped<u64>) {}
async fn with_tx(_: Ping, _: Tx<Memory>) {}
async fn batch(_: Vec<Item<Ping>>) {}
async fn batch_of_one(_: Vec<Item<Ping>>, _: Attempt) {}

struct BadName;
impl tramline::Message for BadName {
    const NAME: &'static str = "Bad Name";
}
impl serde::Serialize for BadName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_unit()
    }
}
impl<'de> serde::Deserialize<'de> for BadName {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}
async fn handle_bad(_: BadName) {}

#[tokio::test]
async fn everything_that_is_wrong_is_reported_at_once_and_nothing_is_declared() {
    let world = World::with(|options| options.without_temporary_queues());
    let queue = |name| QueueName::new(name).unwrap();
    let temporary = QueueSpec { temporary: true, ..QueueSpec::new(queue("temporary")) };
    let far = world.bus_on(world.other_memory()).start().await.unwrap();
    let endpoints = [
        Endpoint::new("Payment").handle(handle),
        Endpoint::new("empty"),
        Endpoint::new("twice").handle(handle).handle(handle_again),
        Endpoint::new("sql").subscribe_where::<Order>(Filter::sql("total > ")).handle(handle_order),
        Endpoint::new("subject").subscribe_to("orders", "a..b", Filter::All).handle(handle_order),
        Endpoint::new("topic").subscribe_to("No Topic", "#", Filter::All).handle(handle_order),
        Endpoint::new("state").handle(with_state),
        Endpoint::new("scope").handle(with_scope),
        Endpoint::new("tx").handle(with_tx),
        Endpoint::new("no-store").transactional().handle(with_tx),
        Endpoint::new("store-less").transactional().handle(handle),
        Endpoint::new("temporary").queue_spec(temporary).handle(handle),
        Endpoint::new("same").handle(handle),
        Endpoint::new("same").handle(handle),
        Endpoint::new("elsewhere").queue(queue("same")).handle(handle),
        Endpoint::new("mixed").handle(handle_order).handle_batch(batch),
        Endpoint::new("single").handle_batch(batch_of_one),
        Endpoint::new("small").batch(100, Duration::ZERO).prefetch(10).handle_batch(batch),
        Endpoint::new("nothing").batch(0, Duration::ZERO).handle_batch(batch),
        Endpoint::new("unbatched").batch(10, SECOND).batch_per_key().handle(handle),
        Endpoint::new("bridge")
            .handle(handle)
            .bridge(tramline::Bridge::to_queue(&far, "Bad Queue")),
        Endpoint::new("bridges").bridge(tramline::Bridge::to_topic(&far, "orders")).handle(handle),
        Endpoint::new("message").handle(handle_bad),
        Endpoint::new("forgetful")
            .transactional()
            .retry(Retry::fixed(3600 * SECOND).runs(1000))
            .handle(handle),
    ];
    let builder = world.bus().state(7u8).state(8u8).publishes::<BadName>();
    let builder = endpoints.into_iter().fold(builder, |bus, endpoint| bus.endpoint(endpoint));
    let error = at_once(builder.start()).await.unwrap_err();
    let text = error.to_string();
    for expected in [
        "bad topic name \"Bad Name\"",
        "endpoint Payment: bad endpoint name",
        "endpoint empty: it has no handler",
        "endpoint twice: two handlers for message ping",
        "endpoint sql: ",
        "endpoint subject: ",
        "endpoint topic: bad topic name \"No Topic\"",
        "endpoint state: the handler for ping asks for State<alloc::string::String>",
        "endpoint scope: the handler for ping asks for Scoped<u64>, which nothing makes",
        "endpoint tx: the handler for ping asks for Tx<",
        "endpoint no-store: the handler for ping asks for Tx<",
        "endpoint store-less: it is `.transactional()`, and no store is registered",
        "endpoint temporary: memory does not offer a temporary queue (capability `temporary_queues`)",
        "endpoint same: there is another endpoint of this name",
        "endpoint elsewhere: queue same is read by another endpoint",
        "endpoint mixed: a batch handler is the endpoint's only handler",
        "endpoint single: the batch handler for ping cannot ask for Attempt",
        "endpoint small: batches of 100 never fill with a prefetch of 10",
        "endpoint nothing: its batches would be of 0 messages",
        "endpoint unbatched: it says `.batch(…)`, and its handlers take messages one by one",
        "endpoint unbatched: it says `.batch_per_key()`, and its handlers take messages one by one",
        "endpoint bridge: a bridge is the endpoint's only handler, and there is another",
        "endpoint bridge: bad queue name \"Bad Queue\"",
        "endpoint bridges: a bridge is the endpoint's only handler, and ping is one more",
        "endpoint message: bad message name \"Bad Name\"",
        "endpoint forgetful: its retries may pause",
        "two states of type u8",
    ] {
        let found = error.problems().iter().any(|problem| problem.contains(expected));
        assert!(found, "{expected:?} is not in\n{text}");
    }
    assert!(
        text.starts_with(&format!("failed to start the bus, {} problems:", error.problems().len()))
    );
    let sql = error.problems().iter().find(|problem| problem.contains("endpoint sql")).unwrap();
    assert!(sql.contains("total > "), "the fault is shown: {sql}");
    assert!(world.memory.queues().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_problem_reads_as_one_sentence() {
    let error = World::new().bus().endpoint(Endpoint::new("q")).start().await.unwrap_err();
    assert_eq!(error.to_string(), "failed to start the bus: endpoint q: it has no handler");
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn endless_policies_are_checked_in_no_time() {
    for retry in [
        Retry::immediate(u32::MAX),
        Retry::fixed(Duration::from_nanos(1)).runs(u32::MAX),
        Retry::exponential(Duration::from_nanos(1)).factor(1.0).runs(u32::MAX),
        Retry::exponential(SECOND).max(Duration::MAX).runs(u32::MAX).jitter(),
        Retry::incremental(SECOND, SECOND).runs(u32::MAX),
    ] {
        let world = World::new();
        let endpoint = Endpoint::new("q").retry(retry).handle(handle);
        at_once(world.bus().endpoint(endpoint).start()).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_is_given_twice_is_refused_where_it_matters() {
    let world = World::new();
    let error = world
        .bus()
        .store(world.memory.clone())
        .store(world.memory.clone())
        .endpoint(Endpoint::new("q").transactional().handle(with_tx))
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("several such stores"), "{error}");
}

#[tokio::test]
async fn queues_and_subscriptions_are_there_before_work_is_accepted() {
    let world = World::new();
    let endpoint = Endpoint::new("q")
        .subscribe::<Order>()
        .subscribe_where::<Paid>(Filter::sql("n > 1"))
        .handle(handle_order);
    let _bus = world.bus().endpoint(endpoint).start().await.unwrap();
    assert_eq!(world.memory.queues().await.unwrap(), [QueueName::new("q").unwrap()]);
    let subscriptions = world.memory.subscriptions().await.unwrap();
    assert_eq!(subscriptions.len(), 1, "one for each topic");
    assert_eq!(subscriptions[0].rules.len(), 2);
}

#[tokio::test]
async fn a_conflict_with_what_is_declared_is_told_with_the_difference() {
    let world = World::new();
    let _bus = world.bus().endpoint(Endpoint::new("q").handle(handle)).start().await.unwrap();
    let mut spec = QueueSpec::new(QueueName::new("q").unwrap());
    spec.priority_max = Some(3);
    let endpoint = Endpoint::new("q").queue_spec(spec).handle(handle);
    let error = world.bus().endpoint(endpoint).start().await.unwrap_err();
    assert!(error.to_string().contains("priority_max"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_pause_longer_than_the_transport_can_delay_is_refused() {
    let world = World::with(|options| options.without_native_retry());
    for (pause, unhandled, is_refused) in [(60, 1, false), (61, 1, true), (1, 61, true)] {
        let rigged = world.rigged();
        *rigged.rig.delay_max.lock() = Some(60 * SECOND);
        let endpoint = Endpoint::new("q")
            .retry(Retry::fixed(pause * SECOND))
            .unhandled_after(3600 * SECOND, unhandled * SECOND)
            .handle(handle);
        let started = world.bus_on(rigged).endpoint(endpoint).start().await;
        assert_eq!(started.is_err(), is_refused, "{started:?}");
    }
}

#[tokio::test]
async fn extreme_numbers_are_brought_into_bounds() {
    async fn keep(_: Ping, State(log): State<Log>) -> Result<(), Failure> {
        log.add("run");
        Err(Failure::retryable("again"))
    }
    let (world, log) = (World::new(), Log::default());
    let most = Endpoint::new("most")
        .concurrency(usize::MAX)
        .retry(Retry::fixed(Duration::MAX).jitter())
        .prefetch(u32::MAX)
        .handle(keep);
    let least =
        Endpoint::new("least").concurrency(0).prefetch(0).retry(Retry::immediate(0)).handle(keep);
    let bus = world.bus().state(log.clone()).endpoint(most).endpoint(least).start().await.unwrap();
    bus.send("most", &Ping { n: 1 }).await.unwrap();
    bus.send("least", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.len(), 2);
}

#[tokio::test]
async fn what_an_endpoint_asks_of_its_queue_is_declared() {
    let world = World::new();
    let endpoint = Endpoint::new("q")
        .ordering(Ordering::PerKey)
        .length_max(7)
        .dedup_window(SECOND)
        .unique()
        .keep_completed(2 * SECOND)
        .keep_dead(3 * SECOND)
        .handle(handle);
    let urgent = Endpoint::new("urgent").priorities(9).handle(handle);
    let _bus = world.bus().endpoint(endpoint).endpoint(urgent).start().await.unwrap();
    let mut spec = QueueSpec::new(QueueName::new("q").unwrap());
    (spec.ordering, spec.length_max) = (Ordering::PerKey, Some(7));
    spec.dedup_window = Some(SECOND);
    spec.unique = true;
    (spec.keep_completed, spec.keep_dead) = (Some(2 * SECOND), Some(3 * SECOND));
    let same = Endpoint::new("q").queue_spec(spec).handle(handle);
    world.bus().endpoint(same).start().await.unwrap();
    let plain = Endpoint::new("q").handle(handle);
    let plain_too = Endpoint::new("urgent").handle(handle);
    let error = world.bus().endpoint(plain).endpoint(plain_too).start().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ordering is PerKey") || text.contains("priority_max is Some(9)"),
        "{text}"
    );
}

#[tokio::test]
async fn what_the_transport_does_not_know_of_a_queue_is_refused_at_the_start() {
    let world = World::with(|options| options.without_temporary_queues());
    let temporary = Endpoint::new("passing").temporary().handle(handle);
    let error = world.bus().endpoint(temporary).start().await.unwrap_err();
    let problem = "endpoint passing: memory does not offer a temporary queue (capability \
                   `temporary_queues`)";
    assert_eq!(error.problems(), [problem]);
    let lazy = Endpoint::new("q").argument("x-queue-mode", "lazy").handle(handle);
    let error = world.bus().endpoint(lazy).start().await.unwrap_err().to_string();
    assert!(error.contains("queue q") && error.contains("x-queue-mode"), "{error}");

    let mut spec = QueueSpec::new(QueueName::new("q").unwrap());
    spec.arguments.insert("x-queue-mode".to_owned(), "default".to_owned());
    let both = Endpoint::new("q").queue_spec(spec).argument("x-queue-mode", "lazy");
    let error = world.bus().endpoint(both.handle(handle)).start().await.unwrap_err();
    let problem = "endpoint q: `.argument x-queue-mode(…)` says \"lazy\", and its \
                   `.queue_spec(…)` \"default\"";
    assert_eq!(error.problems(), [problem]);
}

#[tokio::test]
async fn a_wish_that_contradicts_the_queue_spec_is_refused() {
    let world = World::new();
    let mut spec = QueueSpec::new(QueueName::new("q").unwrap());
    (spec.priority_max, spec.length_max) = (Some(3), Some(7));
    spec.ordering = Ordering::PerQueue;
    let endpoint = Endpoint::new("q")
        .queue_spec(spec)
        .priorities(4)
        .length_max(7)
        .ordering(Ordering::PerKey)
        .handle(handle);
    let error = world.bus().endpoint(endpoint).start().await.unwrap_err();
    assert_eq!(
        error.problems(),
        [
            "endpoint q: `.ordering(…)` says PerKey, and its `.queue_spec(…)` PerQueue",
            "endpoint q: `.priorities(…)` says 4, and its `.queue_spec(…)` 3",
        ]
    );
}

#[tokio::test]
async fn an_order_whose_pauses_are_longer_than_the_broker_holds_a_message_needs_an_answer() {
    use HeldTooLong::{DeadLetter, LetGo};
    use Ordering::{None as Any, PerKey, PerQueue};
    let lockless = World::with(|options| options.without_key_lock());
    let locking = World::new();
    for (world, ordering, retries, unhandled, answer, is_refused) in [
        (&lockless, PerKey, 3, 30, None, false),
        (&lockless, PerKey, 4, 30, None, true),
        (&lockless, PerQueue, 4, 30, None, true),
        (&lockless, PerKey, 3, 31, None, true),
        (&lockless, PerKey, 4, 31, Some(DeadLetter), false),
        (&lockless, PerKey, 4, 31, Some(LetGo), false),
        (&lockless, Any, 4, 31, None, false),
        (&locking, PerKey, 4, 31, None, false),
    ] {
        let rigged = world.rigged();
        *rigged.rig.hold_max.lock() = Some(30 * SECOND);
        let endpoint = Endpoint::new(format!("q-{ordering:?}").to_lowercase())
            .ordering(ordering)
            .retry(Retry::fixed(10 * SECOND).runs(retries + 1))
            .unhandled_after(unhandled * SECOND, SECOND)
            .handle(handle);
        let endpoint = match answer {
            Some(answer) => endpoint.when_held_too_long(answer),
            None => endpoint,
        };
        let started = world.bus_on(rigged).endpoint(endpoint).start().await;
        assert_eq!(started.is_err(), is_refused, "{ordering:?} {retries} {unhandled} {answer:?}");
        if let Err(error) = started {
            let text = error.to_string();
            assert!(text.contains("rigged lets one stay unsettled for at most 30s"), "{text}");
            assert!(text.contains(".when_held_too_long"), "{text}");
        }
    }
}

#[tokio::test]
async fn orphaned_subscriptions_are_named_and_stay() {
    if let Some(child) = alone("starting::orphaned_subscriptions_are_named_and_stay") {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let (world, written) = (World::new(), Written::default());
    let _local = written.begin();
    let both = Endpoint::new("q").subscribe::<Order>().subscribe::<Ping>().handle(handle);
    let other = Endpoint::new("other").subscribe::<Ping>().handle(handle);
    let _bus = world.bus().endpoint(both).endpoint(other).start().await.unwrap();
    assert!(!written.text().contains("orphaned"));
    let one = Endpoint::new("q").subscribe::<Ping>().handle(handle);
    let _newer = world.bus().endpoint(one).start().await.unwrap();
    let text = written.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("orphaned")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains("queue=q topic=orders"), "{text}");
    assert_eq!(world.memory.subscriptions().await.unwrap().len(), 3, "nobody removes it");
}
