//! The relay: from the outbox of a store that is elsewhere to the transport.

use crate::kit::{Answer, Log, Paid, Rigged, SECOND, Watched, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use tramline::core::clock::Clock;
use tramline::core::operate::Peeked;
use tramline::core::store::Store;
use tramline::core::topology::{Rule, Subscription, Topology};
use tramline::core::transport::Transport;
use tramline::{Bus, Draft, Endpoint, QueueName, QueueSpec, State, TopicName, UnsentDepth};

async fn keep(paid: Paid, State(log): State<Log>) {
    log.add(format!("paid {}", paid.n));
}

async fn start(world: &World, rigged: &Rigged, store: &Watched, log: &Log) -> Bus {
    world
        .bus_on(rigged.clone())
        .store(store.clone())
        .state(log.clone())
        .endpoint(Endpoint::new("mail").subscribe::<Paid>().concurrency(1).handle(keep))
        .start()
        .await
        .unwrap()
}

/// Publishes each number under its key in a transaction of its own.
async fn publish(bus: &Bus, store: &Watched, numbers: &[(u64, Option<&'static str>)]) {
    for &(n, key) in numbers {
        let write = move |db: &mut tramline::memory::store::Db<'_>| {
            let paid = Paid { n };
            let draft = Draft::of(&paid);
            match key {
                Some(key) => db.publish(draft.key(key)),
                None => db.publish(draft),
            }
        };
        bus.store(store).write(write).await.unwrap();
    }
}

async fn depth(store: &Watched) -> (u64, u64) {
    store.memory.outbox().depth().await.unwrap()
}

#[tokio::test]
async fn what_is_appended_is_sent_at_once() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    for n in 1..=3 {
        publish(&bus, &store, &[(n, None)]).await;
        idle().await;
        assert_eq!(log.len(), n as usize, "without winding the clock");
    }
    assert_eq!(depth(&store).await, (0, 0));
}

#[tokio::test]
async fn a_transport_that_is_down_is_tried_again_with_growing_pauses() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Unavailable; 20]);
    publish(&bus, &store, &[(1, None)]).await;
    for _ in 0..20 {
        world.wind(30 * SECOND).await;
    }
    assert_eq!(log.lines(), ["paid 1"], "what may help by itself is never parked");
    let tries = rigged.rig.log.len();
    assert!((21..=22).contains(&tries), "{tries} tries: none without a pause");
    let _drained = bus.drain(SECOND).await.unwrap();
}

#[tokio::test]
async fn postponed_rows_cause_no_busy_loop() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Unavailable; 3]);
    publish(&bus, &store, &[(1, None)]).await;
    idle().await;
    let claims = store.claims.load(SeqCst);
    for _ in 0..5 {
        idle().await;
    }
    assert_eq!(store.claims.load(SeqCst), claims, "nothing moves while the clock stands");
    let _bus = bus;
}

#[tokio::test]
async fn a_row_that_is_refused_ten_times_waits_for_an_operator() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Refuse; 10]);
    publish(&bus, &store, &[(1, None)]).await;
    for _ in 0..12 {
        world.wind(30 * SECOND).await;
    }
    assert_eq!(depth(&store).await, (0, 1));
    publish(&bus, &store, &[(2, None)]).await;
    idle().await;
    assert_eq!(log.lines(), ["paid 2"]);
    assert_eq!(store.memory.outbox().release().await.unwrap(), 1);
    idle().await;
    assert_eq!(log.lines(), ["paid 2", "paid 1"]);
}

#[tokio::test]
async fn messages_of_one_key_keep_their_order_when_one_fails() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Unavailable, Answer::Unavailable]);
    let rows = [(1, Some("a")), (2, Some("a")), (3, None), (4, Some("a"))];
    publish(&bus, &store, &rows).await;
    for _ in 0..10 {
        world.wind(SECOND).await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 4);
    let of_key: Vec<_> = lines.iter().filter(|line| *line != "paid 3").collect();
    assert_eq!(of_key, ["paid 1", "paid 2", "paid 4"]);
}

#[tokio::test]
async fn an_answer_that_is_lost_sends_again_under_the_same_id() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().push_back(Answer::Unknown);
    publish(&bus, &store, &[(1, None)]).await;
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["paid 1", "paid 1"], "at least once: an inbox would know it");
    assert_eq!(depth(&store).await, (0, 0));
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again_after_a_pause() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    store.failing_claims.store(3, SeqCst);
    let bus = start(&world, &rigged, &store, &log).await;
    publish(&bus, &store, &[(1, None)]).await;
    idle().await;
    assert_eq!(store.claims.load(SeqCst), 1, "not again before the pause is over");
    for _ in 0..4 {
        world.wind(SECOND).await;
    }
    assert_eq!(log.lines(), ["paid 1"]);
}

#[tokio::test]
async fn a_full_queue_brings_no_row_closer_to_being_parked() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Full; 20]);
    publish(&bus, &store, &[(1, None)]).await;
    for _ in 0..20 {
        world.wind(30 * SECOND).await;
    }
    assert_eq!((log.lines(), depth(&store).await), (vec!["paid 1".to_owned()], (0, 0)));
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_of_a_batch_keeps_no_lease_on_the_rest() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Unavailable, Answer::TooFew]);
    // Those of both sends: of the first, which no message got through, and of the second.
    store.failing_removals.store(2, SeqCst);
    publish(&bus, &store, &[(1, None), (2, None)]).await;
    for _ in 0..4 {
        world.wind(SECOND).await;
    }
    // The first was sent and is still leased; the second was not answered, and is sent again.
    assert_eq!(log.lines(), ["paid 1", "paid 2", "paid 2"]);
    assert_eq!(depth(&store).await, (1, 0));
}

#[tokio::test]
async fn a_store_that_answers_slowly_does_not_stop_the_relay() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().push_back(Answer::Unavailable);
    *store.slow_due.lock() = Some((world.clock.clone(), 5 * SECOND));
    publish(&bus, &store, &[(1, None)]).await;
    idle().await;
    for _ in 0..3 {
        world.wind(SECOND).await;
    }
    assert_eq!(log.lines(), ["paid 1"]);
}

#[tokio::test]
async fn rows_of_a_relay_that_died_are_sent_by_the_next_when_their_lease_ends() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().push_back(Answer::Hang);
    publish(&bus, &store, &[(1, None)]).await;
    idle().await;
    let drain = tokio::spawn(async move { bus.drain(SECOND).await.unwrap() });
    world.wind(SECOND).await;
    assert!(drain.is_finished(), "a send that hangs does not hold up the end");
    let _bus = start(&world, &world.rigged(), &store, &log).await;
    world.wind(30 * SECOND).await;
    assert_eq!(log.len(), 0);
    world.wind(30 * SECOND).await;
    assert_eq!(log.lines(), ["paid 1"]);
}

#[tokio::test]
async fn a_delayed_event_is_relayed_at_once_and_arrives_when_it_is_due() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    let write = |db: &mut tramline::memory::store::Db<'_>| {
        db.publish(Draft::of(&Paid { n: 1 }).delay(60 * SECOND))
    };
    bus.store(&store).write(write).await.unwrap();
    idle().await;
    assert_eq!((depth(&store).await, world.depth("mail").await), ((0, 0), [0, 0, 1, 0]));
    world.wind(60 * SECOND).await;
    assert_eq!(log.lines(), ["paid 1"]);
}

#[tokio::test]
async fn a_transport_that_is_down_brings_no_row_closer_to_being_parked() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Unavailable; 30]);
    rigged.rig.answers.lock().extend([Answer::Refuse; 9]);
    publish(&bus, &store, &[(1, None)]).await;
    for _ in 0..45 {
        world.wind(30 * SECOND).await;
    }
    assert_eq!((log.lines(), depth(&store).await), (vec!["paid 1".to_owned()], (0, 0)));
}

#[tokio::test]
async fn what_waits_behind_a_refused_message_of_its_key_is_not_charged() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Hang]);
    rigged.rig.answers.lock().extend([Answer::Refuse; 10]);
    publish(&bus, &store, &[(0, None)]).await;
    idle().await;
    publish(&bus, &store, &[(1, Some("a")), (2, Some("a"))]).await;
    rigged.rig.release.notify_one();
    for _ in 0..12 {
        world.wind(30 * SECOND).await;
    }
    let unsent = bus.unsent(&store);
    let parked = unsent.parked(None, 10).await.unwrap();
    assert_eq!((parked.len(), parked[0].attempts), (1, 10));
    assert_eq!((unsent.depth().await.unwrap().waiting, log.take().len()), (1, 1), "it waits");
    rigged.rig.answers.lock().extend([Answer::Refuse; 9]);
    assert_eq!(unsent.discard(&[parked[0].row]).await.unwrap(), 1);
    for _ in 0..12 {
        world.wind(30 * SECOND).await;
    }
    assert_eq!(log.lines(), ["paid 2"], "all its attempts were left");
    assert_eq!(unsent.depth().await.unwrap(), UnsentDepth { waiting: 0, parked: 0 });
}

#[tokio::test]
async fn what_waits_behind_a_refused_message_of_its_key_is_given_back_with_it() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Hang, Answer::Refuse]);
    publish(&bus, &store, &[(0, None)]).await;
    idle().await;
    // While the first is on its way, those of one key gather for one batch.
    publish(&bus, &store, &[(1, Some("a")), (2, Some("a")), (3, Some("a"))]).await;
    rigged.rig.release.notify_one();
    idle().await;
    let _drained = bus.drain(SECOND).await.unwrap();
    // Long before the lease of the batch ends.
    world.clock.advance(10 * SECOND);
    let rows = store.memory.outbox().claim(10, SECOND, world.clock.now()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [1, 0, 0]);
}

#[tokio::test]
async fn parked_messages_are_shown_and_try_again_when_released() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Refuse; 10]);
    publish(&bus, &store, &[(1, Some("a"))]).await;
    for _ in 0..12 {
        world.wind(30 * SECOND).await;
    }
    let unsent = bus.unsent(&store);
    let parked = unsent.parked(None, 10).await.unwrap();
    assert!(parked[0].error.contains("send as told"), "{}", parked[0].error);
    assert!(unsent.parked(Some(parked[0].row), 10).await.unwrap().is_empty());
    assert_eq!(unsent.release().await.unwrap(), 1);
    idle().await;
    assert_eq!(log.lines(), ["paid 1"]);
}

#[tokio::test]
async fn a_long_run_of_one_key_does_not_outlast_its_lease() {
    let (world, log) = (World::new(), Log::default());
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = start(&world, &rigged, &store, &log).await;
    rigged.rig.answers.lock().extend([Answer::Hang; 4]);
    publish(&bus, &store, &[(0, None), (1, Some("a")), (2, Some("a")), (3, Some("a"))]).await;
    idle().await;
    rigged.rig.release.notify_one();
    idle().await;
    // All are claimed, and the second of the key is answered late.
    let claims = store.claims.load(SeqCst);
    world.wind(31 * SECOND).await;
    rigged.rig.release.notify_one();
    idle().await;
    assert!(store.claims.load(SeqCst) > claims, "the rest was given back and claimed anew");
    for _ in 0..4 {
        rigged.rig.release.notify_one();
        idle().await;
    }
    assert_eq!(log.lines(), ["paid 0", "paid 1", "paid 2", "paid 3"]);
}

/// A queue that nobody reads: what was sent stands there in the order in which it came.
async fn audit(world: &World) {
    let queue = QueueName::new("audit").unwrap();
    let topic = TopicName::new("orders").unwrap();
    let rules = vec![Rule::subject("#")];
    let topology = Topology {
        queues: vec![QueueSpec::new(queue.clone())],
        topics: vec![topic.clone()],
        subscriptions: vec![Subscription { queue, topic, rules }],
    };
    world.memory.declare(&topology).await.unwrap();
}

#[tokio::test]
async fn two_relays_keep_the_order_of_a_key_while_sends_fail() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.other_memory());
    let (one, two) = (world.rigged(), world.rigged());
    audit(&world).await;
    let bus = start(&world, &one, &store, &log).await;
    let other = Watched::on(store.memory.clone());
    let _second = start(&world, &two, &other, &Log::default()).await;
    for rigged in [&one, &two] {
        let mixed = [Answer::Unavailable, Answer::Accept, Answer::Refuse, Answer::Accept];
        rigged.rig.answers.lock().extend(mixed.into_iter().cycle().take(40));
    }
    let keys = [Some("a"), Some("b"), None];
    let rows: Vec<_> = (0..60).map(|n| (n, keys[n as usize % 3])).collect();
    for rows in rows.chunks(6) {
        publish(&bus, &store, rows).await;
        world.wind(SECOND / 10).await;
    }
    for _ in 0..100 {
        world.wind(SECOND).await;
    }
    assert_eq!(depth(&store).await, (0, 0));
    let audited = world.in_queue("audit").await;
    let number = |row: &Peeked| serde_json::from_slice::<Paid>(&row.envelope.body).unwrap().n;
    let sent: Vec<u64> = audited.iter().map(number).collect();
    for key in [0, 1] {
        let of_key: Vec<_> = sent.iter().copied().filter(|n| n % 3 == key).collect();
        assert!(of_key.is_sorted() && of_key.len() == 20, "{of_key:?}");
    }
    assert_eq!(sent.len(), 60);
    assert!(two.rig.log.len() > 0, "both relays had work");
}
