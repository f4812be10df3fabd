//! Receivers that fail are replaced, and what came through a topic is checked again.

use crate::kit::{Log, Order, Paid, Ping, SECOND, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tramline::core::operate::Operate;
use tramline::{Endpoint, Failure, Filter, QueueName, State, TopicName};

async fn keep(order: Order, State(log): State<Log>) {
    log.add(format!("order {}", order.n));
}

async fn keep_ping(ping: Ping, State(log): State<Log>) {
    log.add(format!("ping {}", ping.n));
}

#[tokio::test]
async fn a_receiver_that_fails_is_replaced_with_growing_pauses_until_one_works() {
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    rigged.rig.broken_receivers.store(1, SeqCst);
    let endpoint = Endpoint::new("q").handle(keep_ping);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    rigged.rig.refused_receivers.store(5, SeqCst);
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let made = || rigged.rig.receivers_made.load(SeqCst);
    assert_eq!((made(), log.len()), (1, 0));
    world.wind(Duration::from_millis(99)).await;
    assert_eq!(made(), 1, "half of each pause is certain");
    world.wind(Duration::from_millis(100)).await;
    assert_eq!(made(), 2, "and the rest is drawn, so that not all processes come at once");
    let mut wound = Duration::ZERO;
    while log.len() == 0 {
        world.wind(Duration::from_millis(100)).await;
        wound += Duration::from_millis(100);
        assert!(wound < 60 * SECOND, "it never works again");
    }
    assert_eq!((made(), log.lines()), (7, vec!["ping 1".to_owned()]));
    assert!(wound > 3 * SECOND, "the pauses grow: {wound:?}");
}

#[tokio::test]
async fn a_receiver_that_ends_by_itself_is_replaced() {
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    rigged.rig.ends_early.store(true, SeqCst);
    let endpoint = Endpoint::new("q").handle(keep_ping);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["ping 1"]);
}

#[tokio::test]
async fn a_drain_ends_the_wait_for_a_new_receiver() {
    for hangs in [false, true] {
        let world = World::new();
        let rigged = world.rigged();
        rigged.rig.broken_receivers.store(1, SeqCst);
        let endpoint = Endpoint::new("q").handle(keep_ping);
        let bus = world.bus_on(rigged.clone()).state(Log::default()).endpoint(endpoint);
        let bus = bus.start().await.unwrap();
        idle().await;
        rigged.rig.hangs.store(hangs, SeqCst);
        if hangs {
            world.wind(SECOND).await;
        }
        let drained = crate::kit::at_once(bus.drain(60 * SECOND)).await.unwrap();
        assert_eq!(drained, tramline::Drained::Clean);
    }
}

#[tokio::test]
async fn what_was_at_work_when_the_receiver_failed_is_finished() {
    #[derive(Clone)]
    struct Gate(std::sync::Arc<tokio::sync::Semaphore>);
    async fn wait(
        _: Ping,
        State(gate): State<Gate>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        gate.0.acquire().await?.forget();
        log.add("done");
        Ok(())
    }
    let (world, log) = (World::new(), Log::default());
    let gate = Gate(std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let rigged = world.rigged();
    let endpoint = Endpoint::new("q").handle(wait);
    let bus =
        world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    rigged.rig.broken_receivers.store(1, SeqCst);
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    world.wind(SECOND).await;
    gate.0.add_permits(1);
    idle().await;
    assert_eq!(log.lines(), ["done"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn where_the_broker_filters_nothing_the_endpoint_does_but_for_direct_sends() {
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    rigged.rig.filters_nothing.store(true, SeqCst);
    let filtered =
        |filter| Endpoint::new("q").subscribe_where::<Order>(Filter::sql(filter)).handle(keep);
    // A bus with wider filters leaves messages as a broker without filters does.
    let wide = world.bus().state(log.clone()).endpoint(filtered("n > 0")).start().await.unwrap();
    let _drained = wide.drain(SECOND).await.unwrap();
    let publisher = world.bus().publishes::<Order>().start().await.unwrap();
    for n in [1, 100] {
        publisher.publish(&Order::of(n)).await.unwrap();
    }
    publisher.send("q", &Order::of(2)).await.unwrap();
    let bus = world.bus_on(rigged).state(log.clone()).endpoint(filtered("n > 50"));
    let bus = bus.start().await.unwrap();
    idle().await;
    let mut lines = log.take();
    lines.sort();
    assert_eq!(lines, ["order 100", "order 2"], "a direct send is never filtered");
    assert_eq!(world.depth("q").await, [0, 0, 0, 0], "what is filtered is gone, not dead");

    let (queue, topic) = (QueueName::new("q").unwrap(), TopicName::new("orders").unwrap());
    assert!(bus.operate().unwrap().unsubscribe(&queue, &topic).await.unwrap());
    assert_eq!(bus.publish(&Order::of(100)).await.unwrap().routed, Some(false));
    assert_eq!(world.memory.subscriptions().await.unwrap(), []);
}

#[tokio::test]
async fn no_more_handlers_run_at_once_than_the_concurrency_and_no_slot_is_lost() {
    #[derive(Clone)]
    struct Gate(std::sync::Arc<tokio::sync::Semaphore>);
    async fn wait(
        ping: Ping,
        State(gate): State<Gate>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add("begin");
        gate.0.acquire().await?.forget();
        match ping.n % 4 {
            0 => panic!("in a handler"),
            1 => Err(Failure::permanent("no")),
            2 => Err(Failure::retryable("later")),
            _ => Ok(()),
        }
    }
    let (world, log) = (World::new(), Log::default());
    let gate = Gate(std::sync::Arc::new(tokio::sync::Semaphore::new(0)));
    let retry = tramline::Retry::fixed(2 * SECOND).runs(2);
    let endpoint = Endpoint::new("q").concurrency(3).retry(retry).handle(wait);
    let bus = world.bus().state(log.clone()).state(gate.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    for n in 0..40 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    for ended in 0..40 {
        assert_eq!(log.len(), (ended + 3).min(40));
        gate.0.add_permits(1);
        idle().await;
    }
    world.wind(2 * SECOND).await;
    assert_eq!(log.len(), 43, "all three slots are free again");
}

#[tokio::test]
async fn no_more_messages_are_held_than_the_prefetch() {
    async fn hang(_: Ping) {
        std::future::pending().await
    }
    let world = World::new();
    let endpoint = Endpoint::new("q").concurrency(10).prefetch(4).handle(hang);
    let bus = world.bus().endpoint(endpoint).start().await.unwrap();
    for n in 0..10 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert_eq!(world.depth("q").await, [6, 4, 0, 0]);
}

#[tokio::test]
async fn an_older_instance_acks_nothing_that_a_newer_one_has_subscribed_to() {
    async fn keep_paid(paid: Paid, State(log): State<Log>) {
        log.add(format!("paid {}", paid.n));
    }
    let (world, log) = (World::new(), Log::default());
    let older = Endpoint::new("q")
        .subscribe_where::<Order>(Filter::sql("n > 50"))
        .unhandled_after(60 * SECOND, SECOND)
        .handle(keep);
    let older = world.bus().state(log.clone()).endpoint(older).start().await.unwrap();
    let newer = || Endpoint::new("q").subscribe::<Order>().subscribe::<Paid>();
    let newer = || newer().handle(keep).handle(keep_paid);
    let declared = world.bus().state(log.clone()).endpoint(newer()).start().await.unwrap();
    let _drained = declared.drain(SECOND).await.unwrap();
    // The older one is alone with what only the newer one has asked for.
    older.publish(&Order::of(7)).await.unwrap();
    older.publish(&Paid { n: 8 }).await.unwrap();
    idle().await;
    assert_eq!(log.take(), ["order 7"], "the queue has asked for it");
    assert_eq!(world.depth("q").await, [0, 0, 1, 0], "a newer instance will know it");
    let _drained = older.drain(SECOND).await.unwrap();
    let _newer = world.bus().state(log.clone()).endpoint(newer()).start().await.unwrap();
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["paid 8"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn each_process_has_a_temporary_queue_of_its_own_which_is_gone_with_it() {
    let world = World::new();
    let logs = [Log::default(), Log::default()];
    let mut buses = Vec::new();
    for log in &logs {
        let news = Endpoint::new("news").temporary().subscribe::<Order>().handle(keep);
        let bus = world.bus_on(world.memory.clone()).state(log.clone()).endpoint(news);
        buses.push(bus.start().await.unwrap());
    }
    buses[0].publish(&Order::of(1)).await.unwrap();
    idle().await;
    assert_eq!(logs.each_ref().map(Log::take), [["order 1"], ["order 1"]]);
    assert_eq!(world.memory.queues().await.unwrap().len(), 2);
    let _ = buses.remove(0).drain(SECOND).await.unwrap();
    assert_eq!(world.memory.queues().await.unwrap().len(), 1);
    buses[0].publish(&Order::of(2)).await.unwrap();
    idle().await;
    assert_eq!(logs.each_ref().map(Log::len), [0, 1]);
}
