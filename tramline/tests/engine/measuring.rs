//! What the engine counts, and that counting and tracing disturb nothing.

use crate::kit::{Counters, Log, Order, Paid, Ping, SECOND, Watched, World, Written, alone, idle};
use std::time::Duration;
use tramline::{Attempt, Endpoint, Failure, Item, Outbox, Retry, State};

#[tokio::test]
async fn handled_messages_are_counted_by_endpoint_and_outcome() {
    async fn even(ping: Ping, attempt: Attempt) -> Result<(), Failure> {
        match ping.n % 2 {
            0 => Ok(()),
            _ => Err(Failure::permanent(format!("odd at run {}", attempt.0))),
        }
    }
    async fn all(_: Vec<Item<Ping>>) {}
    let counters = Counters::default();
    let _local = metrics::set_default_local_recorder(&counters);
    let world = World::new();
    let bus = world
        .bus()
        .endpoint(Endpoint::new("q").handle(even))
        .endpoint(Endpoint::new("batch").batch(10, Duration::ZERO).handle_batch(all))
        .start()
        .await
        .unwrap();
    let pings: Vec<_> = (0..5).map(|n| Ping { n }).collect();
    for queue in ["q", "batch"] {
        assert!(bus.send_all(queue, &pings).await.iter().all(Result::is_ok));
    }
    idle().await;
    let handled = |endpoint, outcome| {
        counters.get(&format!("tramline_handled_total endpoint={endpoint} outcome={outcome}"))
    };
    assert_eq!((handled("q", "succeeded"), handled("q", "failed")), (3, 2));
    assert_eq!(handled("batch", "succeeded"), 5, "messages, not batches");
    let dead = "tramline_dead_lettered_total endpoint=q reason=permanent";
    assert_eq!(counters.get(dead), 2);
}

#[tokio::test]
async fn events_without_subscription_are_counted_however_they_were_published() {
    async fn publish(order: Order, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: order.n })
    }
    let counters = Counters::default();
    let _local = metrics::set_default_local_recorder(&counters);
    let unrouted = || counters.get("tramline_unrouted_total");
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.other_memory());
    let bus = world
        .bus()
        .state(log)
        .store(store.clone())
        .endpoint(Endpoint::new("q").handle(publish))
        .start()
        .await
        .unwrap();
    bus.publish(&Paid { n: 1 }).await.unwrap();
    assert_eq!(unrouted(), 1, "from outside");
    bus.send("q", &Order::of(1)).await.unwrap();
    idle().await;
    assert_eq!(unrouted(), 2, "by a handler");
    bus.store(&store).write(|db| db.publish(&Paid { n: 2 })).await.unwrap();
    idle().await;
    assert_eq!(unrouted(), 3, "by the relay");
}

/// Who is interested in traces is known per process, and other tests are not.
#[tokio::test]
async fn a_subscriber_for_traces_sees_each_message_and_changes_nothing() {
    let test = "measuring::a_subscriber_for_traces_sees_each_message_and_changes_nothing";
    if let Some(child) = alone(test) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    async fn handle(ping: Ping, State(log): State<Log>) -> Result<(), Failure> {
        tracing::info!("in the handler");
        log.add(format!("ping {}", ping.n));
        if log.len() == 1 { Err(Failure::retryable("once")) } else { Ok(()) }
    }
    let written = Written::default();
    let _local = written.begin();
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::fixed(SECOND)).handle(handle);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["ping 1", "ping 1"]);
    let text = written.text();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("in the handler")).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.contains(&id.to_string())), "{text}");
    assert!(text.contains("handling failed"), "{text}");
}
