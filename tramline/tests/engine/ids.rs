//! Ids and correlation flow from the handled message to what its handler publishes.

use crate::kit::{Order, Paid, Ping, SECOND, World, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tramline::{Draft, Endpoint, Envelope, Failure, Memory, MessageId, Outbox, Retry, State, Tx};

type Seen = tokio::sync::mpsc::UnboundedSender<Arc<Envelope>>;

async fn keep_envelope(_: Paid, envelope: Arc<Envelope>, State(seen): State<Seen>) {
    seen.send(envelope).unwrap();
}

fn channel() -> (Seen, tokio::sync::mpsc::UnboundedReceiver<Arc<Envelope>>) {
    tokio::sync::mpsc::unbounded_channel()
}

#[tokio::test]
async fn correlation_causation_and_conversation_flow_along_a_chain() {
    async fn start(_: Ping, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Order::of(1))
    }
    async fn go_on(_: Order, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: 1 })
    }
    let (world, (seen, mut envelopes)) = (World::new(), channel());
    let bus = world
        .bus()
        .state::<Seen>(seen)
        .endpoint(Endpoint::new("start").handle(start))
        .endpoint(Endpoint::new("on").subscribe::<Order>().handle(go_on))
        .endpoint(Endpoint::new("end").subscribe::<Paid>().handle(keep_envelope))
        .start()
        .await
        .unwrap();
    let first = bus.send("start", &Ping { n: 1 }).correlation_id("checkout").await.unwrap().id;
    idle().await;
    let last = envelopes.try_recv().unwrap();
    let middle = MessageId::derive(&first, "start", 0);
    assert_eq!(last.id, Some(MessageId::derive(&middle, "on", 0)));
    assert_eq!(last.causation_id, Some(middle));
    assert_eq!(last.conversation_id, Some(first));
    assert_eq!(last.correlation_id.as_deref(), Some("checkout"));
}

#[tokio::test]
async fn a_handler_that_runs_again_publishes_the_same_ids() {
    /// Fails after its messages have left: the ack is what fails.
    async fn publish_three(_: Ping, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: 0 })?;
        outbox.publish(Draft::of(&Paid { n: 1 }).id("mine".parse()?))?;
        outbox.send("end", &Paid { n: 2 })
    }
    let (world, (seen, mut envelopes)) = (World::new(), channel());
    let rigged = world.rigged();
    let bus = world
        .bus_on(rigged.clone())
        .state::<Seen>(seen)
        .endpoint(Endpoint::new("q").concurrency(1).handle(publish_three))
        .endpoint(Endpoint::new("end").subscribe::<Paid>().concurrency(1).handle(keep_envelope))
        .start()
        .await
        .unwrap();
    rigged.rig.failing_acks.store(1, SeqCst);
    let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
    idle().await;
    let mut ids = Vec::new();
    while let Ok(envelope) = envelopes.try_recv() {
        ids.push(envelope.id.clone().unwrap());
    }
    let derived = |n| MessageId::derive(&id, "q", n);
    let once = [derived(0), "mine".parse().unwrap(), derived(2)];
    assert_eq!(ids, [once.clone(), once].concat());
}

#[tokio::test]
async fn closures_come_before_the_outbox_and_all_ids_differ() {
    async fn both(_: Ping, outbox: Outbox, tx: Tx<Memory>) -> Result<(), Failure> {
        outbox.publish(&Paid { n: 2 })?;
        tx.write(|db| {
            db.publish(&Paid { n: 0 })?;
            db.publish(&Paid { n: 1 })
        })
    }
    let (world, (seen, mut envelopes)) = (World::new(), channel());
    let bus = world
        .bus()
        .store(world.memory.clone())
        .state::<Seen>(seen)
        .endpoint(Endpoint::new("q").transactional().handle(both))
        .endpoint(Endpoint::new("end").subscribe::<Paid>().concurrency(1).handle(keep_envelope))
        .start()
        .await
        .unwrap();
    let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
    idle().await;
    for n in 0..3 {
        let envelope = envelopes.try_recv().unwrap();
        assert_eq!(envelope.id, Some(MessageId::derive(&id, "q", n)));
        assert_eq!(envelope.body, format!("{{\"n\":{n}}}"));
        assert_eq!(envelope.causation_id, Some(id.clone()));
    }
}

#[tokio::test]
async fn what_a_failed_run_has_published_is_thrown_away() {
    async fn second_try(
        ping: Ping,
        outbox: Outbox,
        State(runs): State<Arc<AtomicU32>>,
    ) -> Result<(), Failure> {
        let run = u64::from(runs.fetch_add(1, SeqCst));
        outbox.publish(&Paid { n: 10 * ping.n + run })?;
        if run == 0 { Err(Failure::retryable("again")) } else { Ok(()) }
    }
    for pause in [SECOND / 2, 2 * SECOND] {
        let (world, (seen, mut envelopes)) = (World::new(), channel());
        let retry = Retry::fixed(pause);
        let bus = world
            .bus()
            .state::<Seen>(seen)
            .state(Arc::new(AtomicU32::new(0)))
            .endpoint(Endpoint::new("q").retry(retry).handle(second_try))
            .endpoint(Endpoint::new("end").subscribe::<Paid>().handle(keep_envelope))
            .start()
            .await
            .unwrap();
        let id = bus.send("q", &Ping { n: 1 }).await.unwrap().id;
        world.wind(pause).await;
        let envelope = envelopes.try_recv().unwrap();
        assert_eq!(envelope.body, "{\"n\":11}");
        assert_eq!(envelope.id, Some(MessageId::derive(&id, "q", 0)));
        assert!(envelopes.try_recv().is_err());
    }
}

#[tokio::test]
async fn our_ids_are_uuids_that_sort_by_time() {
    let world = World::new();
    let bus = world.bus().publishes::<Paid>().start().await.unwrap();
    let first = bus.publish(&Paid { n: 1 }).await.unwrap().id;
    world.wind(SECOND).await;
    let second = bus.publish(&Paid { n: 1 }).await.unwrap().id;
    assert!(first < second);
    assert_eq!(first.as_uuid().unwrap().get_version_num(), 7);
}
