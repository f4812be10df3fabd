//! Domain events: many handlers of one event, in the caller's transaction, and on to the bus.

use crate::kit::{Log, Order, Paid, Ping, SECOND, Watched, World, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Barrier;
use tramline::core::ErrorKind;
use tramline::events::{Event, EventFailures, EventsBuilder};
use tramline::memory::store::MemoryTx;
use tramline::{
    Bus, Cancel, Endpoint, Events, Failure, MessageId, Outbox, Retry, Scoped, State, Tx,
};

/// Something that happened in this process, and is no message.
#[derive(Clone, Debug)]
struct Shipped {
    n: u64,
}

fn alone(log: &Log) -> EventsBuilder {
    Events::builder().state(log.clone())
}

async fn first(shipped: Shipped, State(log): State<Log>) {
    log.add(format!("first {}", shipped.n));
}

async fn second(shipped: Shipped, State(log): State<Log>) {
    log.add(format!("second {}", shipped.n));
}

async fn refuse(shipped: Shipped, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("refuse {}", shipped.n));
    Err(Failure::permanent("no such address"))
}

async fn lose(_: Shipped, State(log): State<Log>) -> Result<(), Failure> {
    log.add("lose");
    Err(std::io::Error::other("the line is cut").into())
}

async fn fall(_: Shipped) {
    panic!("over");
}

#[tokio::test]
async fn every_handler_sees_every_event_in_the_order_of_their_names() {
    let log = Log::default();
    let shipped = Event::new().handle(first).handle(second);
    let events = alone(&log).event(shipped).start().unwrap();
    events.publish(&Shipped { n: 1 }).await.unwrap();
    events.publish(&Shipped { n: 2 }).await.unwrap();
    assert_eq!(log.lines(), ["first 1", "second 1", "first 2", "second 2"]);
}

#[tokio::test]
async fn the_first_failure_ends_it_and_says_who_and_why() {
    let log = Log::default();
    let shipped = Event::new().handle(first).handle(lose).handle(second);
    let events = alone(&log).event(shipped).start().unwrap();
    let failure = events.publish(&Shipped { n: 1 }).await.unwrap_err();
    assert_eq!(log.lines(), ["first 1", "lose"]);
    assert!(!failure.is_permanent());
    let said = failure.to_string();
    for word in ["Shipped", "events::lose", "the line is cut"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("first"), "{said}");
    // A retry policy by error finds what the handler has met.
    assert!(failure.find::<std::io::Error>().is_some());
}

#[tokio::test]
async fn all_run_and_all_failures_are_named_if_it_is_said() {
    let log = Log::default();
    let shipped = Event::new().handle(lose).handle(fall).handle(refuse).handle(second).run_all();
    let events = alone(&log).event(shipped).start().unwrap();
    let failure = events.publish(&Shipped { n: 1 }).await.unwrap_err();
    assert_eq!(log.lines(), ["lose", "refuse 1", "second 1"]);
    let found = failure.find::<EventFailures>().unwrap();
    let texts: Vec<_> = found.failures().iter().map(|failed| failed.failure.to_string()).collect();
    assert_eq!(texts, ["the line is cut", "panicked: over", "no such address"]);
    // What no retry can help is not retried, whoever else has failed.
    assert!(failure.is_permanent());
}

#[tokio::test]
async fn concurrent_handlers_run_beside_each_other() {
    let (log, both) = (Log::default(), Arc::new(Barrier::new(2)));
    async fn meet(_: Shipped, State(both): State<Arc<Barrier>>, State(log): State<Log>) {
        both.wait().await;
        log.add("met");
    }
    let shipped = Event::new().handle(meet).handle(meet).concurrently();
    let events = alone(&log).state(both).event(shipped).start().unwrap();
    events.publish(&Shipped { n: 1 }).await.unwrap();
    assert_eq!(log.lines(), ["met", "met"]);
}

#[tokio::test]
async fn the_first_failure_ends_those_that_run_beside_it_unless_all_are_to_run() {
    async fn linger(_: Shipped, State(log): State<Log>, cancel: Cancel) {
        tokio::spawn({
            let log = log.clone();
            async move {
                cancel.cancelled().await;
                log.add("cancelled");
            }
        });
        tokio::task::yield_now().await;
        log.add("done");
    }
    for (all, expected) in [(false, vec!["lose", "cancelled"]), (true, vec!["lose", "done"])] {
        let log = Log::default();
        let mut shipped = Event::new().handle(linger).handle(lose).concurrently();
        if all {
            shipped = shipped.run_all();
        }
        let events = alone(&log).event(shipped).start().unwrap();
        events.publish(&Shipped { n: 1 }).await.unwrap_err();
        idle().await;
        assert_eq!(log.lines(), expected);
    }
}

#[tokio::test]
async fn a_panic_is_a_failure_and_the_next_event_is_handled() {
    let log = Log::default();
    async fn at_times(shipped: Shipped, State(log): State<Log>) {
        assert!(shipped.n > 1, "too early");
        log.add("done");
    }
    let events = alone(&log).event(Event::new().handle(at_times)).start().unwrap();
    let failure = events.publish(&Shipped { n: 1 }).await.unwrap_err();
    assert!(failure.to_string().contains("panicked: too early"), "{failure}");
    events.publish(&Shipped { n: 2 }).await.unwrap();
    assert_eq!(log.lines(), ["done"]);
}

#[tokio::test]
async fn what_is_scoped_is_made_for_each_handler() {
    async fn count(_: Shipped, mut made: Scoped<u64>, State(log): State<Log>) {
        made.0 += 1;
        log.add(made.0.to_string());
    }
    let log = Log::default();
    let events = alone(&log).scoped(|| async { Ok::<_, Failure>(7_u64) });
    let events = events.event(Event::new().handle(count).handle(count)).start().unwrap();
    events.publish(&Shipped { n: 1 }).await.unwrap();
    assert_eq!(log.lines(), ["8", "8"]);
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_start() {
    async fn publishes(_: Shipped, _: Outbox) {}
    async fn writes(_: Shipped, _: Tx<Watched>) {}
    let events = Events::builder()
        .event(Event::new().handle(first).handle(publishes))
        .event(Event::<Shipped>::new())
        .event(Event::<u64>::new());
    let error = events.start().unwrap_err();
    assert!(error.to_string().starts_with("failed to start the events, 5 problems"), "{error}");
    let told = error.problems().join("\n");
    for words in [
        "events::first asks for State<",
        "publishes publishes to a bus, and there is none",
        "Shipped: it is declared twice",
        "Shipped: it has no handler",
        "u64: it has no handler",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }

    let world = World::new();
    let (one, other) = (Watched::on(world.memory.clone()), world.other_memory());
    async fn writes_elsewhere(_: u64, _: Tx<tramline::Memory>, _: Tx<Watched>) {}
    let bus = world.bus().store(one.clone()).store(other);
    let bus = bus.event(Event::new().handle(writes).concurrently());
    let error = bus.event(Event::new().handle(writes_elsewhere)).start().await.unwrap_err();
    let told = error.problems().join("\n");
    assert_eq!(error.problems().len(), 2, "{told}");
    assert!(told.contains("Shipped: its handlers run concurrently"), "{told}");
    assert!(told.contains("u64: its handlers ask for transactions of two stores"), "{told}");

    async fn again(_: Paid, _: Events) {}
    let bus = world.bus().store(Watched::on(world.memory.clone()));
    let bus = bus.event(Event::new().handle(writes));
    let error = bus.event(Event::new().handle(again).concurrently()).start().await.unwrap_err();
    assert!(error.to_string().contains("publish events in turn"), "{error}");

    let bus = world.bus().event(Event::new().handle(writes));
    let error = bus.start().await.unwrap_err();
    assert!(error.to_string().contains("no such store is registered"), "{error}");

    async fn ask(_: Ping, _: Events) {}
    let bus = world.bus().endpoint(Endpoint::new("work").handle(ask));
    let error = bus.start().await.unwrap_err();
    assert!(error.to_string().contains("asks for Events, and none are declared"), "{error}");
}

#[tokio::test]
async fn an_event_that_nobody_handles_is_refused() {
    let events = Events::builder().start().unwrap();
    let failure = events.publish(&Shipped { n: 1 }).await.unwrap_err();
    assert!(failure.is_permanent() && failure.to_string().contains("nobody handles it"));
}

#[tokio::test]
async fn events_that_cause_each_other_for_ever_are_cut_off() {
    async fn again(
        shipped: Shipped,
        events: Events,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add("again");
        events.publish(&shipped).await
    }
    let log = Log::default();
    let events = alone(&log).event(Event::new().handle(again)).start().unwrap();
    let failure = events.publish(&Shipped { n: 1 }).await.unwrap_err();
    assert!(failure.is_permanent() && failure.to_string().contains("have caused each other"));
    assert_eq!(log.len(), 16);
}

/// A bus that logs the orders and payments that come out of it.
async fn bus(world: &World, log: &Log, build: impl FnOnce(Builder) -> Builder) -> Bus {
    async fn order(order: Order, State(log): State<Log>) {
        log.add(format!("order {}", order.n));
    }
    async fn paid(paid: Paid, State(log): State<Log>) {
        log.add(format!("paid {}", paid.n));
    }
    let out = Endpoint::new("out").subscribe::<Order>().subscribe::<Paid>();
    let bus =
        world.bus().state(log.clone()).endpoint(out.concurrency(1).handle(order).handle(paid));
    build(bus).start().await.unwrap()
}

type Builder = tramline::BusBuilder<tramline::Memory>;

async fn settle(order: Order, outbox: Outbox) -> Result<(), Failure> {
    outbox.publish(&Paid { n: order.n })?;
    if order.n == 13 { Err(Failure::permanent("unlucky")) } else { Ok(()) }
}

#[tokio::test]
async fn one_line_moves_an_event_to_the_bus_and_only_if_all_succeed() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log, |bus| bus.event(Event::new().forward().handle(settle))).await;
    bus.events().publish(&Order::of(1)).await.unwrap();
    idle().await;
    assert_eq!(log.take(), ["order 1", "paid 1"]);
    bus.events().publish(&Order::of(13)).await.unwrap_err();
    idle().await;
    assert_eq!(log.take(), [""; 0]);
    let _ = bus.drain(SECOND).await.unwrap();
    let closed = bus.events().publish(&Order::of(2)).await.unwrap_err();
    let kind = closed.find::<tramline::Error>().map(tramline::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Closed), "{closed}");
}

#[tokio::test]
async fn what_concurrent_handlers_publish_stands_in_the_order_of_their_names() {
    async fn late(_: Shipped, outbox: Outbox) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        outbox.publish(&Paid { n: 1 })
    }
    async fn early(_: Shipped, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: 2 })
    }
    let (world, log) = (World::new(), Log::default());
    let shipped = Event::new().handle(late).handle(early).concurrently();
    let bus = bus(&world, &log, |bus| bus.event(shipped)).await;
    bus.events().publish(&Shipped { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["paid 1", "paid 2"]);
}

#[tokio::test]
async fn in_a_handler_its_event_publishes_as_it_does() {
    async fn handle(
        ping: Ping,
        events: Events,
        id: MessageId,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add(format!("message {id}"));
        events.publish(&Order::of(ping.n)).await?;
        events.publish(&Order::of(ping.n + 1)).await?;
        if log.len() < 5 { Err(Failure::retryable("not yet")) } else { Ok(()) }
    }
    async fn note(_: Order, id: MessageId, State(log): State<Log>) {
        log.add(format!("message {id}"));
    }
    let (world, log) = (World::new(), Log::default());
    // Nobody reads what it sends on.
    let work = Endpoint::new("work").retry(Retry::fixed(10 * SECOND)).handle(handle);
    let bus = world.bus().state(log.clone()).endpoint(work);
    let kept = Endpoint::new("kept").subscribe::<Order>().handle(async |_: Order| {});
    let _kept = world.bus().endpoint(kept).start().await.unwrap().drain(SECOND).await.unwrap();
    let bus = bus.event(Event::new().handle(note).forward()).start().await.unwrap();
    let id = bus.send("work", &Ping { n: 1 }).await.unwrap().id;
    idle().await;
    // It has failed: nothing has left.
    assert_eq!(log.take(), vec![format!("message {id}"); 3]);
    assert!(world.in_queue("kept").await.is_empty());
    log.add("so");
    log.add("that");
    world.wind(10 * SECOND).await;
    assert_eq!(log.len(), 5);
    let kept = world.in_queue("kept").await;
    let of_order = |ordinal| MessageId::derive(&id, "work", ordinal);
    let ids: Vec<_> = kept.iter().map(|peeked| peeked.envelope.id.clone().unwrap()).collect();
    assert_eq!(ids, [of_order(0), of_order(1)]);
    assert!(kept.iter().all(|peeked| peeked.envelope.causation_id.as_ref() == Some(&id)));
}

fn count(tx: &MemoryTx, key: &'static str) -> Result<(), Failure> {
    tx.write(move |db| {
        db.put(key, db.get::<u64>(key).unwrap_or(0) + 1);
        Ok(())
    })
}

async fn counted(world: &World, key: &str) -> u64 {
    world.memory.read(|db| db.get::<u64>(key)).await.unwrap_or(0)
}

/// Writes, and fails at order 13.
async fn book(order: Order, tx: Tx<Watched>) -> Result<(), Failure> {
    count(&tx, "booked")?;
    if order.n == 13 { Err(Failure::permanent("unlucky")) } else { Ok(()) }
}

/// What an endpoint does with the event that it publishes.
async fn ledger<H, Args: 'static>(world: &World, log: &Log, handler: H) -> (Bus, Watched)
where
    H: tramline::handler::Handler<Args, Message = Ping>,
{
    let store = Watched::on(world.memory.clone());
    let work = Endpoint::new("work").transactional().handle(handler);
    let order = Event::new().handle(book).forward();
    let bus = bus(world, log, |bus| bus.store(store.clone()).endpoint(work).event(order)).await;
    (bus, store)
}

#[tokio::test]
async fn handlers_of_an_event_work_in_the_callers_transaction() {
    async fn handle(ping: Ping, events: Events) -> Result<(), Failure> {
        events.publish(&Order::of(ping.n)).await
    }
    let (world, log) = (World::new(), Log::default());
    let (bus, store) = ledger(&world, &log, handle).await;
    bus.send("work", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(counted(&world, "booked").await, 1);
    assert_eq!(log.take(), ["order 1"]);
    bus.send("work", &Ping { n: 13 }).await.unwrap();
    idle().await;
    assert_eq!(counted(&world, "booked").await, 1);
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(world.depth("work").await, [0, 0, 0, 1]);
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn who_holds_the_transaction_lends_it_to_the_events_handlers() {
    async fn handle(
        ping: Ping,
        mut tx: Tx<Watched>,
        events: Events,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        count(&tx, "before")?;
        let held = events.publish(&Order::of(ping.n)).await.unwrap_err();
        log.add(held.to_string());
        Err(held)?;
        count(&tx, "after")?;
        events.publish_in(&mut tx, &Order::of(ping.n)).await
    }
    async fn lends(ping: Ping, mut tx: Tx<Watched>, events: Events) -> Result<(), Failure> {
        count(&tx, "before")?;
        events.publish_in(&mut tx, &Order::of(ping.n)).await?;
        count(&tx, "after")
    }
    let (world, log) = (World::new(), Log::default());
    let (bus, _) = ledger(&world, &log, handle).await;
    bus.send("work", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let lines = log.take();
    assert!(lines[0].contains("publish_in(&mut tx"), "{lines:?}");
    assert_eq!(world.depth("work").await, [0, 0, 0, 1]);

    let world = World::new();
    let (bus, _) = ledger(&world, &log, lends).await;
    bus.send("work", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.take(), ["order 1"]);
    for key in ["before", "booked", "after"] {
        assert_eq!(counted(&world, key).await, 1, "{key}");
    }
}

#[tokio::test]
async fn a_transaction_with_half_of_a_handlers_writes_is_not_committed() {
    async fn ignores(ping: Ping, mut tx: Tx<Watched>, events: Events) {
        let _ = events.publish_in(&mut tx, &Order::of(ping.n)).await;
        count(&tx, "after").unwrap();
    }
    async fn drops(ping: Ping, mut tx: Tx<Watched>, events: Events) {
        let shipped = Shipped { n: ping.n };
        tokio::select! {
            biased;
            _ = events.publish_in(&mut tx, &shipped) => {}
            () = tokio::task::yield_now() => {}
        }
        // It is there again.
        count(&tx, "after").unwrap();
    }
    async fn hang(_: Shipped, tx: Tx<Watched>) {
        count(&tx, "booked").unwrap();
        std::future::pending().await
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let endpoint = |name| Endpoint::new(name).transactional().retry(Retry::fixed(SECOND).runs(2));
    let bus = bus(&world, &log, |bus| {
        bus.store(store.clone())
            .event(Event::new().handle(book))
            .event(Event::new().handle(hang))
            .endpoint(endpoint("ignores").handle(ignores))
            .endpoint(endpoint("drops").handle(drops))
    })
    .await;
    for queue in ["ignores", "drops"] {
        bus.send(queue, &Ping { n: 13 }).await.unwrap();
        idle().await;
        world.wind(SECOND).await;
        let dead = world.dead(queue).await;
        let notes = &dead[0].death.as_ref().unwrap().history.notes();
        assert!(notes.last().unwrap().error.contains("its writes are among them"), "{notes:?}");
    }
    assert_eq!(counted(&world, "after").await + counted(&world, "booked").await, 0);
}

#[tokio::test]
async fn an_event_whose_handlers_want_a_transaction_that_the_endpoint_does_not_have_fails() {
    async fn handle(ping: Ping, events: Events) -> Result<(), Failure> {
        events.publish(&Order::of(ping.n)).await
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let work = Endpoint::new("work").handle(handle);
    let event = Event::new().handle(book);
    let bus = bus(&world, &log, |bus| bus.store(store).endpoint(work).event(event)).await;
    bus.send("work", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let dead = world.dead("work").await;
    let notes = &dead[0].death.as_ref().unwrap().history.notes();
    assert!(notes[0].error.contains("who publishes it works in none"), "{notes:?}");
}

#[tokio::test]
async fn outside_of_handlers_an_event_has_a_transaction_of_its_own() {
    let (world, log) = (World::new(), Log::default());
    async fn nothing(_: Ping) {}
    let (bus, store) = ledger(&world, &log, nothing).await;
    bus.events().publish(&Order::of(1)).await.unwrap();
    idle().await;
    assert_eq!((counted(&world, "booked").await, log.take()), (1, vec!["order 1".to_owned()]));
    let failure = bus.events().publish(&Order::of(13)).await.unwrap_err();
    assert!(failure.is_permanent());
    idle().await;
    assert_eq!((counted(&world, "booked").await, log.take()), (1, vec![]));
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn a_unit_of_work_is_committed_whole_or_not_at_all() {
    let (world, log) = (World::new(), Log::default());
    async fn nothing(_: Ping) {}
    let (bus, store) = ledger(&world, &log, nothing).await;

    let mut work = bus.begin(&store).await.unwrap();
    count(&work, "mine").unwrap();
    bus.events().publish_in(&mut work, &Order::of(1)).await.unwrap();
    work.publish(&Paid { n: 1 }).unwrap();
    idle().await;
    assert_eq!((counted(&world, "mine").await, log.len()), (0, 0));
    work.commit().await.unwrap();
    idle().await;
    assert_eq!((counted(&world, "mine").await, counted(&world, "booked").await), (1, 1));
    assert_eq!(log.take(), ["order 1", "paid 1"]);

    let work = bus.begin(&store).await.unwrap();
    count(&work, "mine").unwrap();
    work.publish(&Paid { n: 2 }).unwrap();
    drop(work);

    let mut work = bus.begin(&store).await.unwrap();
    count(&work, "mine").unwrap();
    bus.events().publish_in(&mut work, &Order::of(13)).await.unwrap_err();
    let failure = work.commit().await.unwrap_err();
    assert!(failure.to_string().contains("its writes are among them"), "{failure}");
    idle().await;
    assert_eq!((counted(&world, "mine").await, log.len()), (1, 0));
    assert_eq!(store.open.load(SeqCst), 0);
}

#[tokio::test]
async fn a_transaction_is_not_committed_while_an_event_is_at_work_in_it() {
    async fn leaves(ping: Ping, events: Events) {
        tokio::spawn(async move { events.publish(&Order::of(ping.n)).await });
        tokio::task::yield_now().await;
    }
    /// Writes, and is long at something else then.
    async fn linger(_: Order, tx: Tx<Watched>) {
        count(&tx, "booked").unwrap();
        drop(tx);
        std::future::pending().await
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let work = Endpoint::new("work").transactional().retry(Retry::none()).handle(leaves);
    let order = Event::new().handle(linger);
    let bus = bus(&world, &log, |bus| bus.store(store).endpoint(work).event(order)).await;
    bus.send("work", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let dead = world.dead("work").await;
    let notes = dead[0].death.as_ref().unwrap().history.notes();
    assert!(notes[0].error.contains("is still at work in the transaction"), "{notes:?}");
    assert_eq!(counted(&world, "booked").await, 0);
}
