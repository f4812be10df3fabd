//! Requests and their replies.

use crate::kit::{Commit, Counters, Log, Paid, SECOND, Watched, World, at_once, idle};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline::core::clock::{Clock, Deadline};
use tramline::core::envelope::Envelope;
use tramline::core::transport::{Destination, Outgoing, Sender, Transport};
use tramline::request::{FailureKind, Mediator, Request, RequestError};
use tramline::{Bus, Endpoint, ErrorKind, Failure, Message, Outbox, Retry, State, Tx};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CheckStock {
    sku: u64,
}
impl Message for CheckStock {
    const NAME: &'static str = "stock.check";
}
impl Request for CheckStock {
    type Reply = Stock;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stock {
    sku: u64,
    left: u64,
}
impl Message for Stock {
    const NAME: &'static str = "stock.checked";
}

/// What the responders of a test wait for.
type Gate = Arc<Semaphore>;

/// There is as much of each article as its number says, but for some.
async fn check(request: CheckStock, State(log): State<Log>) -> Result<Stock, Failure> {
    log.add(format!("check {}", request.sku));
    match request.sku {
        13 => {
            let secret = std::io::Error::other("stock.internal:5432 refused the password");
            Err(Failure::permanent(secret))
        }
        12 => Err(Failure::rejected("no such article")),
        14 => Err(std::io::Error::other("stock.internal:5432 is away").into()),
        15 => panic!("index 7 out of bounds in stock.rs"),
        sku => Ok(Stock { sku, left: sku }),
    }
}

async fn start(world: &World, log: &Log, stock: Endpoint) -> Bus {
    let stock = stock.retry(Retry::fixed(10 * SECOND).runs(2));
    world.bus().state(log.clone()).endpoint(stock).start().await.unwrap()
}

/// Lets a request go, and no further.
async fn sent(asked: &mut (impl Future + Unpin)) {
    // A task of its own makes the queue of replies before.
    assert!(futures_util::poll!(&mut *asked).is_pending());
    idle().await;
    assert!(futures_util::poll!(asked).is_pending());
}

fn responder() -> Endpoint {
    Endpoint::new("stock").respond(check)
}

fn failure(error: RequestError) -> (FailureKind, String) {
    match error {
        RequestError::Failed { request: "stock.check", failure } => (failure.kind, failure.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_answered_by_whoever_reads_its_queue() {
    let (world, log) = (World::new(), Log::default());
    let _responder = start(&world, &log, responder()).await;
    // As another process.
    let bus = world.bus_on(world.memory.clone()).start().await.unwrap();
    for sku in [1, 2] {
        let stock = at_once(bus.request("stock", &CheckStock { sku })).await.unwrap();
        assert_eq!(stock, Stock { sku, left: sku });
    }
    idle().await;
    assert_eq!(world.depth("stock").await, [0, 0, 0, 0]);
    assert_eq!(log.lines(), ["check 1", "check 2"]);
}

#[tokio::test]
async fn what_no_retry_can_help_is_told_in_the_responders_words_and_nothing_else_is() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, responder()).await;
    let error = at_once(bus.request("stock", &CheckStock { sku: 12 })).await.unwrap_err();
    assert_eq!(error.to_string(), "the request stock.check was rejected: no such article");
    assert_eq!(failure(error), (FailureKind::Rejected, "no such article".to_owned()));
    let error = at_once(bus.request("stock", &CheckStock { sku: 13 })).await.unwrap_err();
    assert_eq!(failure(error), (FailureKind::Rejected, "its log says why".to_owned()));
    // Nobody has to have waited for it: it is kept for an operator.
    assert_eq!(world.depth("stock").await, [0, 0, 0, 2]);
    for sku in [14, 15] {
        let asked = tokio::spawn({
            let bus = bus.clone();
            async move { bus.request("stock", &CheckStock { sku }).await }
        });
        idle().await;
        assert!(!asked.is_finished(), "it is tried again");
        world.wind(10 * SECOND).await;
        let (kind, message) = failure(asked.await.unwrap().unwrap_err());
        assert_eq!(kind, FailureKind::Failed);
        assert!(!message.contains("internal") && !message.contains("index"), "{message}");
    }
}

#[tokio::test]
async fn many_requests_at_once_get_each_their_own_reply() {
    async fn out_of_order(request: CheckStock) -> Stock {
        for _ in 0..request.sku % 7 {
            tokio::task::yield_now().await;
        }
        Stock { sku: request.sku, left: 2 * request.sku }
    }
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, Endpoint::new("stock").respond(out_of_order)).await;
    let asked = (0..1000).map(async |sku| bus.request("stock", &CheckStock { sku }).await.unwrap());
    let replies = at_once(futures_util::future::join_all(asked)).await;
    for (sku, reply) in (0..).zip(replies) {
        assert_eq!(reply, Stock { sku, left: 2 * sku });
    }
}

async fn wait(request: CheckStock, State(gate): State<Gate>) -> Stock {
    gate.acquire().await.unwrap().forget();
    Stock { sku: request.sku, left: 0 }
}

/// A responder that waits for the gate.
async fn gated(world: &World) -> (Bus, Gate) {
    let gate = Gate::new(Semaphore::new(0));
    let stock = Endpoint::new("stock").respond(wait);
    let bus = world.bus_on(world.memory.clone()).state(gate.clone()).endpoint(stock);
    (bus.start().await.unwrap(), gate)
}

#[test]
fn a_request_waits_for_its_time_and_a_late_reply_is_dropped_and_counted() {
    let counters = Counters::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&counters, || {
        runtime.block_on(async {
            let world = World::new();
            let (_responder, gate) = gated(&world).await;
            let bus = world.bus().start().await.unwrap();
            let said = CheckStock { sku: 1 };
            let mut asked =
                std::pin::pin!(bus.request("stock", &said).ttl(5 * SECOND).into_future());
            sent(&mut asked).await;
            world.wind(4 * SECOND).await;
            assert!(futures_util::poll!(&mut asked).is_pending());
            world.wind(SECOND).await;
            let error = asked.await.unwrap_err();
            assert_eq!(error.to_string(), "the request stock.check had no reply within 5s");
            // Somebody who does not wait any more.
            let mut dropped = Box::pin(bus.request("stock", &said).into_future());
            sent(&mut dropped).await;
            idle().await;
            drop(dropped);
            assert_eq!(counters.get("tramline_late_replies_total"), 0);
            gate.add_permits(2);
            idle().await;
            assert_eq!(counters.get("tramline_late_replies_total"), 2);
            // One whose process is gone, and its queue with it.
            let gone = world.bus_on(world.memory.clone()).start().await.unwrap();
            let mut left = Box::pin(gone.request("stock", &said).into_future());
            sent(&mut left).await;
            drop(left);
            let _ = gone.drain(SECOND).await.unwrap();
            gate.add_permits(1);
            idle().await;
            assert_eq!(counters.get("tramline_late_replies_total"), 3);
            // Whoever asks next gets his own.
            gate.add_permits(1);
            let next = at_once(bus.request("stock", &CheckStock { sku: 3 })).await.unwrap();
            assert_eq!(next.sku, 3);
        });
    });
}

#[tokio::test]
async fn an_unsaid_time_is_half_a_minute_and_then_nobody_begins_with_the_request() {
    let (world, log) = (World::new(), Log::default());
    let responder = start(&world, &log, responder()).await;
    let _ = responder.drain(SECOND).await.unwrap();
    let bus = world.bus_on(world.memory.clone()).start().await.unwrap();
    let said = CheckStock { sku: 1 };
    let mut asked = std::pin::pin!(bus.request("stock", &said).into_future());
    sent(&mut asked).await;
    world.wind(29 * SECOND).await;
    assert!(futures_util::poll!(&mut asked).is_pending());
    world.wind(SECOND).await;
    assert!(
        matches!(asked.await, Err(RequestError::TimedOut { after, .. }) if after == 30 * SECOND)
    );
    let _responder = start(&world, &log, self::responder()).await;
    idle().await;
    assert_eq!(log.lines(), [""; 0]);
    assert_eq!(world.depth("stock").await, [0, 0, 0, 1]);
}

#[test]
fn the_death_of_a_responder_is_a_time_out_and_its_successor_does_not_begin() {
    let counters = Counters::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&counters, || {
        runtime.block_on(async {
            let (world, log) = (World::new(), Log::default());
            let (process, gate) = (world.memory.clone(), Gate::new(Semaphore::new(0)));
            let stock = Endpoint::new("stock").respond(wait);
            let dying = world.bus_on(process).state(gate).endpoint(stock).start().await.unwrap();
            let bus = world.bus_on(world.memory.clone()).start().await.unwrap();
            let said = CheckStock { sku: 1 };
            let mut asked =
                std::pin::pin!(bus.request("stock", &said).ttl(2 * SECOND).into_future());
            sent(&mut asked).await;
            idle().await;
            assert_eq!(world.depth("stock").await, [0, 1, 0, 0], "it is at work");
            world.wind(2 * SECOND).await;
            assert!(matches!(asked.await, Err(RequestError::TimedOut { .. })));
            // It dies at it, and the next one finds a request whose time is over.
            world.memory.expire_leases(&tramline::QueueName::new("stock").unwrap());
            let _ = dying.drain(Duration::ZERO).await.unwrap();
            let _next = start(&world, &log, responder()).await;
            idle().await;
            assert_eq!(log.lines(), [""; 0]);
            assert_eq!(world.depth("stock").await, [0, 0, 0, 1]);
            assert_eq!(counters.get("tramline_late_replies_total"), 0);
        });
    });
}

#[tokio::test]
async fn a_responder_that_publishes_and_replies_does_both_or_neither() {
    async fn reserve(
        request: CheckStock,
        tx: Tx<Watched>,
        outbox: Outbox,
    ) -> Result<Stock, Failure> {
        tx.write(move |db| {
            db.put("reserved", request.sku);
            Ok(())
        })?;
        outbox.publish(&Paid { n: request.sku })?;
        Ok(Stock { sku: request.sku, left: 0 })
    }
    async fn paid(paid: Paid, State(log): State<Log>) {
        log.add(format!("paid {}", paid.n));
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone()).then([Commit::Fail]);
    let stock = Endpoint::new("stock").transactional().retry(Retry::fixed(10 * SECOND).runs(2));
    let bus = world
        .bus()
        .store(store)
        .state(log.clone())
        .endpoint(stock.respond(reserve))
        .endpoint(Endpoint::new("out").subscribe::<Paid>().handle(paid))
        .start()
        .await
        .unwrap();
    let said = CheckStock { sku: 7 };
    let mut asked = std::pin::pin!(bus.request("stock", &said).into_future());
    sent(&mut asked).await;
    idle().await;
    // The first commit has failed.
    assert!(futures_util::poll!(&mut asked).is_pending());
    assert_eq!(log.lines(), [""; 0]);
    world.wind(10 * SECOND).await;
    assert_eq!(at_once(asked).await.unwrap(), Stock { sku: 7, left: 0 });
    idle().await;
    assert_eq!(log.lines(), ["paid 7"]);
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_says_why() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, responder()).await;
    let not_sent = |error| match error {
        RequestError::NotSent(error) => error.kind(),
        other => panic!("{other:?}"),
    };
    let said = CheckStock { sku: 1 };
    let error = at_once(bus.request("nobody", &said)).await.unwrap_err();
    assert_eq!(not_sent(error), ErrorKind::NotFound);
    let error = at_once(bus.request("No Queue", &said)).await.unwrap_err();
    assert_eq!(not_sent(error), ErrorKind::Misconfigured);

    let (slow, _gate) = gated(&World::new()).await;
    let mut asked = std::pin::pin!(slow.request("stock", &said).into_future());
    sent(&mut asked).await;
    idle().await;
    let _ = slow.drain(Duration::ZERO).await.unwrap();
    match at_once(asked).await {
        Err(RequestError::Unanswered { error, .. }) => assert_eq!(error.kind(), ErrorKind::Closed),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        not_sent(at_once(slow.request("stock", &said)).await.unwrap_err()),
        ErrorKind::Closed
    );
}

#[tokio::test]
async fn a_command_to_a_responder_is_handled_and_answered_to_nobody() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, responder()).await;
    bus.send("stock", &CheckStock { sku: 1 }).await.unwrap();
    bus.send("stock", &CheckStock { sku: 13 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["check 1", "check 13"]);
    assert_eq!(world.depth("stock").await, [0, 0, 0, 1]);
}

/// Answers every message of `stock` as a client in another language would: by the correlation id alone.
async fn answer_as_others_do(world: &World, reply: Envelope) {
    let sender = world.memory.sender().await.unwrap();
    let asked = world.in_queue("stock").await;
    for peeked in asked {
        let Envelope { correlation_id, reply_to, .. } = (*peeked.envelope).clone();
        let envelope = Arc::new(Envelope { correlation_id, ..reply.clone() });
        let to = Destination::Address(reply_to.unwrap());
        let outgoing = Outgoing { to, envelope, due: None, copy: None };
        let sent = sender.send(&[outgoing], Deadline::after(world.clock.now(), SECOND)).await;
        assert!(sent[0].is_accepted(), "{sent:?}");
    }
}

#[tokio::test]
async fn others_may_answer_by_the_correlation_id_and_what_cannot_be_read_is_told() {
    let named = |name: Option<&'static str>, body: &'static str| Envelope {
        name: name.map(Into::into),
        body: body.into(),
        version: 1,
        ..Envelope::default()
    };
    let newer = Envelope { version: 2, ..named(Some("stock.checked"), "{}") };
    for (reply, said) in [
        (named(None, r#"{"sku":1,"left":5}"#), None),
        (named(Some("stock.checked"), r#"{"sku":1}"#), Some("failed to decode stock.checked")),
        (named(Some("stock.gone"), "{}"), Some("it is a message stock.gone, and stock.checked")),
        (newer, Some("it is of version 2, and this program knows up to 1")),
    ] {
        let (world, log) = (World::new(), Log::default());
        // Declares the queue, and is gone.
        let _ = start(&world, &log, responder()).await.drain(SECOND).await.unwrap();
        let bus = world.bus_on(world.memory.clone()).start().await.unwrap();
        let request = CheckStock { sku: 1 };
        let mut asked = std::pin::pin!(bus.request("stock", &request).into_future());
        sent(&mut asked).await;
        idle().await;
        answer_as_others_do(&world, reply).await;
        match (at_once(asked).await, said) {
            (Ok(stock), None) => assert_eq!(stock, Stock { sku: 1, left: 5 }),
            (Err(error @ RequestError::BadReply { .. }), Some(words)) => {
                assert!(error.to_string().contains(words), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_mediator_has_the_same_responders_answer_without_a_bus() {
    let log = Log::default();
    let mediator = Mediator::builder().state(log.clone()).respond(check).start().unwrap();
    let stock = mediator.request(CheckStock { sku: 4 }).await.unwrap();
    assert_eq!(stock, Stock { sku: 4, left: 4 });
    let refused = mediator.request(CheckStock { sku: 12 }).await.unwrap_err();
    assert_eq!(failure(refused), (FailureKind::Rejected, "no such article".to_owned()));
    for sku in [14, 15] {
        let (kind, message) = failure(mediator.request(CheckStock { sku }).await.unwrap_err());
        assert_eq!(kind, FailureKind::Failed);
        assert!(!message.contains("internal") && !message.contains("index"), "{message}");
    }
    let unknown = Mediator::builder().start().unwrap().request(CheckStock { sku: 1 }).await;
    assert_eq!(failure(unknown.unwrap_err()).0, FailureKind::Unreadable);
}

#[tokio::test]
async fn a_mediators_responder_has_so_much_time() {
    let world = World::new();
    let gate = Gate::new(Semaphore::new(0));
    let mediator = Mediator::builder().clock(world.clock.clone()).time_limit(3 * SECOND);
    let mediator = mediator.state(gate).respond(wait).start().unwrap();
    let mut asked = std::pin::pin!(mediator.request(CheckStock { sku: 1 }));
    sent(&mut asked).await;
    world.wind(3 * SECOND).await;
    assert!(
        matches!(asked.await, Err(RequestError::TimedOut { after, .. }) if after == 3 * SECOND)
    );
}

#[tokio::test]
async fn what_is_wrong_with_responders_is_said_at_start() {
    async fn publishes(_: CheckStock, _: Outbox) -> Stock {
        Stock { sku: 0, left: 0 }
    }
    async fn writes(_: CheckStock, _: Tx<Watched>) -> Stock {
        Stock { sku: 0, left: 0 }
    }
    let mediator = Mediator::builder().respond(check).respond(publishes).respond(writes);
    let error = mediator.start().unwrap_err();
    assert!(error.to_string().starts_with("failed to start the mediator, 5 problems"), "{error}");
    let told = error.problems().join("\n");
    for words in [
        "two responders for the request stock.check",
        "the responder for stock.check asks for State<",
        "asks for an outbox, which only a bus has",
        "Watched, which only a bus has",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    async fn handle(_: CheckStock) {}
    let world = World::with(|options| options.without_temporary_queues());
    let bus = world.bus().start().await.unwrap();
    let error = at_once(bus.request("stock", &CheckStock { sku: 1 })).await.unwrap_err();
    assert!(error.to_string().contains("capability `temporary_queues`"), "{error}");
    let stock = Endpoint::new("stock").respond(publishes).handle(handle);
    let error = World::new().bus().endpoint(stock).start().await.unwrap_err();
    assert!(error.to_string().contains("two handlers for message stock.check"), "{error}");
}

#[tokio::test]
async fn replies_of_one_business_operation_are_told_apart_and_so_are_requests_of_one_id() {
    let world = World::new();
    let (_responder, gate) = gated(&world).await;
    let bus = world.bus().start().await.unwrap();
    let (first, second) = (CheckStock { sku: 1 }, CheckStock { sku: 2 });
    let id: tramline::MessageId = "order-7".parse().unwrap();
    // Of one operation; nobody will wait for the reply of the first of them, which comes first.
    let late = bus.request("stock", &second).correlation_id("order-7").ttl(SECOND);
    let mut late = std::pin::pin!(late.into_future());
    sent(&mut late).await;
    let mut waits = std::pin::pin!(bus.request("stock", &first).id(id.clone()).into_future());
    sent(&mut waits).await;
    let again = at_once(bus.request("stock", &second).id(id)).await.unwrap_err();
    match again {
        RequestError::NotSent(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        other => panic!("{other:?}"),
    }
    world.wind(SECOND).await;
    assert!(matches!(late.await, Err(RequestError::TimedOut { .. })));
    gate.add_permits(2);
    assert_eq!(at_once(waits).await.unwrap().sku, 1);
}

/// The reply is a row of the outbox, and a relay takes it to the temporary queue.
#[tokio::test]
async fn a_reply_goes_through_the_outbox_of_another_database_and_nobody_minds_if_it_is_late() {
    let (world, log) = (World::new(), Log::default());
    let store = world.other_memory();
    let stock = Endpoint::new("stock").transactional().respond(check);
    let bus = world.bus().store(store.clone()).state(log.clone()).endpoint(stock);
    let bus = bus.require_subscribers().start().await.unwrap();
    let asked = at_once(bus.request("stock", &CheckStock { sku: 5 })).await.unwrap();
    assert_eq!(asked.left, 5);
    let gone = world.bus_on(world.memory.clone()).start().await.unwrap();
    let said = CheckStock { sku: 6 };
    let mut asked = Box::pin(gone.request("stock", &said).into_future());
    sent(&mut asked).await;
    drop(asked);
    let _ = gone.drain(SECOND).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["check 5", "check 6"]);
    let unsent = bus.unsent(&store).depth().await.unwrap();
    assert_eq!((unsent.waiting, unsent.parked), (0, 0));
}

#[tokio::test]
async fn a_requester_is_not_told_of_a_dead_letter_that_was_none_after_all() {
    async fn changes_its_mind(
        request: CheckStock,
        State(log): State<Log>,
    ) -> Result<Stock, Failure> {
        log.add("check");
        if log.len() == 1 {
            return Err(Failure::rejected("not yet known"));
        }
        Ok(Stock { sku: request.sku, left: 1 })
    }
    // Its copy is among the dead letters, and the ack of the request itself fails: it comes again.
    let world = World::with(|options| options.without_native_dead_letters());
    let (rigged, log) = (world.rigged(), Log::default());
    rigged.rig.failing_acks.store(1, SeqCst);
    let stock = Endpoint::new("stock").respond(changes_its_mind);
    let responder = world.bus_on(rigged).state(log.clone()).endpoint(stock);
    let _responder = responder.start().await.unwrap();
    let bus = world.bus_on(world.memory.clone()).start().await.unwrap();
    let stock = at_once(bus.request("stock", &CheckStock { sku: 3 })).await.unwrap();
    assert_eq!((stock.left, log.len()), (1, 2));
}
