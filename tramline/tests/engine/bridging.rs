//! Bridges from one bus to another in the same process.

use crate::kit::{Answer, Ping, Renamed, SECOND, Watched, World, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tramline::breaker::BreakerState;
use tramline::core::operate::Operate;
use tramline::{
    Bridge, Bus, CircuitBreaker, Endpoint, Envelope, Failure, Filter, HeaderValue, Memory,
    QueueName, Retry, State, TopicName, Tx,
};

type Seen = tokio::sync::mpsc::UnboundedSender<Arc<Envelope>>;

/// The near world, and the bus on the other side, which does nothing but forward or listen.
struct Sides {
    world: World,
    far_memory: Memory,
}

impl Sides {
    fn new() -> Self {
        let world = World::new();
        let far_memory = world.other_memory();
        Self { world, far_memory }
    }

    async fn start_near(&self, bridge: Bridge) -> Bus {
        let endpoint = Endpoint::new("out")
            .subscribe_to("orders", "#", Filter::All)
            .retry(Retry::fixed(10 * SECOND).runs(2))
            .bridge(bridge);
        self.world.bus().endpoint(endpoint).start().await.unwrap()
    }
}

async fn keep(_: Ping, envelope: Arc<Envelope>, State(seen): State<Seen>) {
    seen.send(envelope).unwrap();
}

async fn keep_renamed(_: Renamed, envelope: Arc<Envelope>, State(seen): State<Seen>) {
    seen.send(envelope).unwrap();
}

#[tokio::test]
async fn what_goes_on_is_the_message_as_it_came() {
    let sides = Sides::new();
    let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel::<Arc<Envelope>>();
    let far = sides.world.bus_on(sides.far_memory.clone()).state::<Seen>(seen.clone());
    let in_topic =
        Endpoint::new("in").subscribe_to("orders", "#", Filter::All).handle(keep_renamed);
    let far = far.endpoint(in_topic).start().await.unwrap();
    let near = sides.start_near(Bridge::to_topic(&far, "orders")).await;
    let renamed = Renamed { number: 1 };
    let sent = near.publish(&renamed).topic(TopicName::new("orders").unwrap()).subject("a.b");
    let sent = sent.header("region", "eu").key("k").idempotency_key("i").correlation_id("c");
    let id = sent.ttl(60 * SECOND).priority(3).await.unwrap().id;
    idle().await;
    let came = envelopes.try_recv().unwrap();
    let mut expected = (*came).clone();
    assert_eq!(came.via.as_ref().map(|via| &*via.subject), Some("a.b"));
    assert_eq!(came.headers.get("tramline_bridges"), Some(&HeaderValue::Int(1)));
    assert_eq!(
        (came.id.as_ref(), came.version, came.name.as_deref()),
        (Some(&id), 2, Some("ping"))
    );
    expected.headers.remove("tramline_bridges");
    let facts = [&came.key, &came.idempotency_key, &came.correlation_id].map(Option::as_deref);
    assert_eq!(facts, [Some("k"), Some("i"), Some("c")]);
    assert_eq!((expected.headers.len(), expected.headers.text("region")), (1, Some("eu")));
    assert!(came.sent_at.is_some() && came.expires_at.is_some() && came.priority == Some(3));
    assert_eq!(sides.world.depth("out").await, [0; 4], "acked");
}

#[tokio::test]
async fn what_is_forwarded_again_after_a_death_or_a_lost_answer_is_known_on_the_other_side() {
    async fn write(ping: Ping, tx: Tx<Watched>) -> Result<(), Failure> {
        tx.write(move |db| {
            db.put(ping.n.to_string(), db.get::<u32>(&ping.n.to_string()).unwrap_or(0) + 1);
            Ok(())
        })
    }
    let sides = Sides::new();
    let store = Watched::on(sides.far_memory.clone());
    let rigged_far = crate::kit::Rigged::on(sides.far_memory.clone());
    let far = sides.world.bus_on(rigged_far.clone()).store(store);
    let far =
        far.endpoint(Endpoint::new("in").transactional().handle(write)).start().await.unwrap();
    let rigged = sides.world.rigged();
    let out = || Endpoint::new("out").bridge(Bridge::to_queue(&far, "in"));
    let near = sides.world.bus_on(rigged.clone()).endpoint(out()).start().await.unwrap();
    rigged.rig.unheard_acks.store(1, SeqCst);
    near.send("out", &Ping { n: 1 }).await.unwrap();
    idle().await;
    sides.world.memory.expire_leases(&QueueName::new("out").unwrap());
    idle().await;
    rigged_far.rig.answers.lock().push_back(Answer::Unknown);
    near.send("out", &Ping { n: 2 }).await.unwrap();
    sides.world.wind(SECOND).await;
    let sent = rigged_far.rig.log.lines();
    assert!(sent.iter().filter(|line| line.starts_with("send")).count() == 4, "{sent:?}");
    let entries = sides.far_memory.read(|db| db.entries::<u32>()).await;
    assert_eq!(entries, ["1", "2"].map(|n| (n.to_owned(), 1)));
    assert_eq!(sides.world.depth("out").await, [0; 4]);
}

#[tokio::test]
async fn another_bus_that_is_away_or_full_charges_nobody_and_one_that_refuses_does() {
    let sides = Sides::new();
    let rigged = crate::kit::Rigged::on(sides.far_memory.clone());
    let far =
        sides.world.bus_on(rigged.clone()).endpoint(Endpoint::new("in").handle(|_: Ping| async {}));
    let far = far.start().await.unwrap();
    let near = sides.start_near(Bridge::to_queue(&far, "in")).await;
    let answers = [Answer::Unavailable, Answer::Full, Answer::TooFew, Answer::Refuse];
    rigged.rig.answers.lock().extend(answers);
    near.send("out", &Ping { n: 1 }).await.unwrap();
    for _ in 0..3 {
        idle().await;
        assert_eq!(sides.world.in_queue("out").await[0].failures, 0);
        sides.world.wind(SECOND).await;
    }
    assert_eq!(sides.world.in_queue("out").await[0].failures, 1);
    sides.world.wind(10 * SECOND).await;
    assert_eq!(sides.world.depth("out").await, [0; 4]);
    let _drained = far.drain(SECOND).await.unwrap();
    near.send("out", &Ping { n: 2 }).await.unwrap();
    for _ in 0..10 {
        sides.world.wind(SECOND).await;
    }
    assert_eq!(sides.world.in_queue("out").await[0].failures, 0, "closed");
}

#[tokio::test]
async fn a_breaker_opens_while_the_other_bus_is_away() {
    let sides = Sides::new();
    let rigged = crate::kit::Rigged::on(sides.far_memory.clone());
    let far = sides.world.bus_on(rigged.clone());
    let far = far.endpoint(Endpoint::new("in").handle(|_: Ping| async {})).start().await.unwrap();
    let breaker = CircuitBreaker::named("far").calls_min(2).open_for(5 * SECOND).build();
    let out = Endpoint::new("out").circuit_breaker(&breaker);
    let out = out.bridge(Bridge::to_queue(&far, "in"));
    let near = sides.world.bus().endpoint(out).start().await.unwrap();
    rigged.rig.answers.lock().extend([Answer::Unavailable, Answer::Unavailable]);
    for n in 1..=3 {
        near.send("out", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert!(matches!(breaker.state(), BreakerState::Open { .. }));
    assert!(sides.world.in_queue("out").await.iter().all(|message| message.failures == 0));
    for _ in 0..10 {
        sides.world.wind(SECOND).await;
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(sides.world.depth("out").await, [0; 4]);
}

#[tokio::test]
async fn those_who_set_a_reply_address_and_do_not_wait_cross_without_it() {
    let sides = Sides::new();
    let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel::<Arc<Envelope>>();
    let far = sides.world.bus_on(sides.far_memory.clone()).state::<Seen>(seen);
    let far = far.endpoint(Endpoint::new("in").handle(keep)).start().await.unwrap();
    let near = sides.start_near(Bridge::to_queue(&far, "in").drop_reply_to()).await;
    near.send("out", &Ping { n: 1 }).reply_to("somewhere").await.unwrap();
    idle().await;
    assert_eq!(envelopes.try_recv().unwrap().reply_to, None);
    assert_eq!(sides.world.depth("out").await, [0; 4]);
}

#[tokio::test]
async fn a_time_limit_that_would_charge_for_the_other_buss_absence_is_refused() {
    let sides = Sides::new();
    let far = sides.world.bus_on(sides.far_memory.clone()).send_limit(5 * SECOND);
    let far = far.start().await.unwrap();
    for (limit, is_refused) in [(5, true), (6, false)] {
        let out = Endpoint::new("out").bridge(Bridge::to_queue(&far, "in"));
        let started = sides.world.bus().endpoint(out.time_limit(limit * SECOND)).start().await;
        let problems = started.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(problems.contains("cuts off its bridge"), is_refused, "{problems}");
    }
}

#[tokio::test]
async fn a_bridge_in_a_transactional_endpoint_acks_nothing_that_has_not_crossed() {
    let sides = Sides::new();
    let rigged = crate::kit::Rigged::on(sides.far_memory.clone());
    let far = sides.world.bus_on(rigged.clone());
    let far = far.endpoint(Endpoint::new("in").handle(|_: Ping| async {})).start().await.unwrap();
    let store = Watched::on(sides.world.memory.clone());
    let out = Endpoint::new("out").transactional().bridge(Bridge::to_queue(&far, "in"));
    let near = sides.world.bus().store(store.clone()).endpoint(out).start().await.unwrap();
    rigged.rig.answers.lock().push_back(Answer::Unavailable);
    near.send("out", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!((sides.world.depth("out").await, store.open.load(SeqCst)), ([0, 0, 1, 0], 0));
    sides.world.wind(SECOND).await;
    assert_eq!(sides.world.depth("out").await, [0; 4]);
    assert_eq!(rigged.rig.log.lines().iter().filter(|line| line.starts_with("send")).count(), 2);
}

#[tokio::test]
async fn what_can_never_be_read_here_goes_on_and_a_request_does_not() {
    let sides = Sides::new();
    let far = sides.world.bus_on(sides.far_memory.clone());
    let far = far.endpoint(Endpoint::new("in").handle(|_: Ping| async {})).start().await.unwrap();
    let near = sides.start_near(Bridge::to_queue(&far, "in")).await;
    near.send("out", &Renamed { number: 1 }).await.unwrap();
    near.send("out", &crate::kit::Order::of(1)).reply_to("somewhere").await.unwrap();
    idle().await;
    let dead = sides.world.dead("out").await;
    assert_eq!(dead[0].death.as_ref().unwrap().reason.as_str(), "permanent");
    let depth = sides.far_memory.depth(&QueueName::new("in").unwrap()).await.unwrap();
    assert_eq!(depth.delayed.known(), Some(1), "a newer version waits there for who knows it");
    assert_eq!(sides.world.depth("out").await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn bridges_that_lead_to_each_other_end() {
    let sides = Sides::new();
    let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel::<Arc<Envelope>>();
    let far = sides.world.bus_on(sides.far_memory.clone()).start().await.unwrap();
    let listener = Endpoint::new("listen").subscribe_to("orders", "#", Filter::All).handle(keep);
    let out = Endpoint::new("out").subscribe_to("orders", "#", Filter::All);
    let near = sides.world.bus().state::<Seen>(seen).endpoint(listener);
    let near = near.endpoint(out.bridge(Bridge::to_topic(&far, "orders"))).start().await.unwrap();
    let back = Endpoint::new("back").subscribe_to("orders", "#", Filter::All);
    let back = back.bridge(Bridge::to_topic(&near, "orders"));
    let _far = sides.world.bus_on(sides.far_memory.clone()).endpoint(back).start().await.unwrap();
    near.publish(&Ping { n: 1 }).topic(TopicName::new("orders").unwrap()).await.unwrap();
    idle().await;
    let mut came = Vec::new();
    while let Ok(envelope) = envelopes.try_recv() {
        came.push(envelope);
    }
    assert_eq!(came.len(), 9, "once by itself, and each second time");
    assert_eq!(sides.world.depth("out").await, [0, 0, 0, 1]);
}
