//! A newer program has changed what this one works on: the bus stops.

use crate::kit::{
    Log, Paid, Ping, Rigged, SECOND, Watched, World, Written, alone, at_once, idle, outdated,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Semaphore;
use tramline::core::clock::Clock;
use tramline::core::store::{CommitError, Store};
use tramline::{Bus, Endpoint, Error, ErrorKind, Failure, Item, Outbox, Retry, State, Tx};

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

async fn wait(ping: Ping, State(gate): State<Gate>, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("begin {}", ping.n));
    gate.0.acquire().await?.forget();
    log.add(format!("end {}", ping.n));
    if ping.n == 13 { Err(Failure::permanent("an unlucky number")) } else { Ok(()) }
}

async fn ignore(_: Ping) {}

fn assert_says_why(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
    assert!(error.to_string().ends_with(": a newer program was here"), "{error}");
}

/// A bus of two endpoints, the first of which waits in its handlers.
async fn start(world: &World, rigged: &Rigged, log: &Log, gate: &Gate) -> Bus {
    let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(Endpoint::new("q").concurrency(1).handle(wait));
    bus.endpoint(Endpoint::new("other").handle(ignore)).start().await.unwrap()
}

#[tokio::test]
async fn a_bus_that_is_outdated_before_it_starts_says_so() {
    let (world, rigged) = (World::new(), World::new().rigged());
    rigged.rig.outdated.cancel();
    let bus = world.bus_on(rigged).endpoint(Endpoint::new("q").handle(ignore));
    let error = at_once(bus.start()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
    assert!(error.to_string().ends_with(": a newer program was here"), "{error}");
}

#[tokio::test]
async fn an_outdated_receiver_stops_the_bus_and_everybody_learns_why() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log, &gate).await;
    for n in 1..=2 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    let running = tokio::spawn({
        let bus = bus.clone();
        async move { bus.run(60 * SECOND).await }
    });
    idle().await;
    assert!(!bus.is_stopping());
    rigged.rig.outdated.cancel();
    idle().await;
    assert!(bus.is_stopping() && !running.is_finished(), "what runs is finished");
    assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
    assert_says_why(&bus.send("q", &Ping { n: 3 }).await.unwrap_err());
    assert_says_why(&bus.publish_all(&[Paid { n: 1 }]).await.remove(0).unwrap_err());
    gate.0.add_permits(1);
    assert_says_why(&at_once(running).await.unwrap().unwrap_err());
    assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
    world.wind(60 * SECOND).await;
    assert_eq!(rigged.rig.receivers_made.load(SeqCst), 2, "nobody tries again");
    assert_eq!(log.lines(), ["begin 1", "end 1"]);
    assert_eq!(world.depth("q").await, [2, 0, 0, 0], "nothing is lost");
}

#[tokio::test]
async fn a_bus_that_finds_itself_outdated_when_it_receives_again_stops() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let rigged = world.rigged();
    rigged.rig.broken_receivers.store(2, SeqCst);
    let bus = start(&world, &rigged, &log, &gate).await;
    idle().await;
    rigged.rig.outdated.cancel();
    world.wind(SECOND).await;
    assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
    assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
}

#[tokio::test]
async fn a_settlement_that_is_refused_to_the_outdated_stops_the_bus() {
    // An ack, and a copy for the dead letters.
    for first in [1, 13] {
        let world = World::with(|options| options.without_native_dead_letters());
        let (rigged, log, gate) = (world.rigged(), Log::default(), Gate::shut());
        rigged.rig.prefetches.store(true, SeqCst);
        let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
        let endpoint = Endpoint::new("q").concurrency(1).prefetch(10).handle(wait);
        let bus = bus.endpoint(endpoint).start().await.unwrap();
        let pings = [first, 2, 3].map(|n| Ping { n });
        assert!(bus.send_all("q", &pings).await.iter().all(Result::is_ok));
        idle().await;
        rigged.rig.outdated.cancel();
        // The receiver has the next message here already, and asks for none.
        gate.0.add_permits(1);
        idle().await;
        assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
        assert_eq!(log.lines()[1], format!("end {first}"));
    }
}

#[tokio::test]
async fn a_bus_that_only_publishes_stops_when_that_is_refused() {
    let world = World::new();
    let rigged = world.rigged();
    let bus = world.bus_on(rigged.clone()).publishes::<Paid>().start().await.unwrap();
    rigged.rig.outdated.cancel();
    assert!(!bus.is_stopping(), "it has not met it");
    assert_says_why(&bus.publish(&Paid { n: 1 }).await.unwrap_err());
    assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
}

#[tokio::test]
async fn a_bus_that_is_told_to_stop_has_no_other_reason() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &world.rigged(), &log, &gate).await;
    let stopping = tokio::spawn({
        let bus = bus.clone();
        async move { bus.until_stopping().await }
    });
    idle().await;
    assert!(!stopping.is_finished());
    let _drained = bus.drain(SECOND).await.unwrap();
    at_once(stopping).await.unwrap().unwrap();
}

async fn write(ping: Ping, tx: Tx<Watched>, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("write {}", ping.n));
    tx.write(|_| Ok(()))
}

async fn write_all(items: Vec<Item<Ping>>, State(log): State<Log>) {
    log.add(format!("write {} at once", items.len()));
}

#[tokio::test]
async fn a_store_for_which_the_program_is_outdated_stops_the_bus_and_charges_no_message() {
    let endpoint = || {
        let endpoint = Endpoint::new("q").concurrency(1).retry(Retry::immediate(3));
        endpoint.transactional()
    };
    let single = || endpoint().handle(write);
    let batch = || endpoint().batch(2, SECOND).handle_batch(write_all);
    for (endpoint, line) in [(single(), "write 1"), (batch(), "write 2 at once")] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(world.other_memory());
        let bus = world.bus_on(world.rigged()).store(store.clone()).state(log.clone());
        let bus = bus.endpoint(endpoint).start().await.unwrap();
        // The relay has looked, and rests.
        idle().await;
        store.is_outdated.store(true, SeqCst);
        for n in 1..=2 {
            bus.send("q", &Ping { n }).await.unwrap();
        }
        idle().await;
        assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
        assert_eq!(log.lines(), [line], "nothing is tried again, nor halved");
        let waiting = world.in_queue("q").await;
        assert_eq!(waiting.iter().map(|found| found.failures).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(world.depth("q").await, [2, 0, 0, 0]);
    }
}

#[tokio::test]
async fn no_handler_begins_once_the_inbox_was_refused_to_the_outdated() {
    let endpoint = || Endpoint::new("q").concurrency(1).transactional();
    let batch = || endpoint().batch(2, SECOND).handle_batch(write_all);
    for endpoint in [endpoint().handle(write), batch()] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(world.other_memory());
        let bus = world.bus_on(world.rigged()).store(store.clone()).state(log.clone());
        let bus = bus.endpoint(endpoint).start().await.unwrap();
        idle().await;
        store.inbox_is_outdated.store(true, SeqCst);
        for n in 1..=2 {
            bus.send("q", &Ping { n }).await.unwrap();
        }
        idle().await;
        assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
        assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
        assert_eq!(log.lines(), [""; 0]);
        assert_eq!(world.depth("q").await, [2, 0, 0, 0]);
    }
}

#[tokio::test]
async fn an_outdated_relay_stops_the_bus() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let store = Watched::on(world.other_memory());
    let bus = world.bus_on(world.rigged()).store(store.clone()).state(log.clone()).state(gate);
    let bus = bus.endpoint(Endpoint::new("q").handle(wait)).start().await.unwrap();
    store.is_outdated.store(true, SeqCst);
    world.wind(SECOND).await;
    assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
    assert_says_why(&bus.send("q", &Ping { n: 1 }).await.unwrap_err());
    let publisher = world.bus().start().await.unwrap();
    publisher.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!((log.len(), world.depth("q").await), (0, [1, 0, 0, 0]), "endpoints stop with it");
}

#[tokio::test]
async fn an_inbox_that_cannot_be_pruned_by_the_outdated_stops_the_bus() {
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let bus = world.bus().store(store.clone()).state(log.clone());
    let bus = bus.endpoint(Endpoint::new("q").transactional().handle(write)).start();
    let bus = bus.await.unwrap();
    store.is_outdated.store(true, SeqCst);
    world.wind(60 * SECOND).await;
    assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
}

#[tokio::test]
async fn rows_that_a_transport_refuses_to_the_outdated_wait_uncharged_for_another_relay() {
    let (world, rigged) = (World::new(), World::new().rigged());
    let store = Watched::on(world.other_memory());
    let bus = world.bus_on(rigged.clone()).store(store.clone()).start().await.unwrap();
    rigged.rig.outdated.cancel();
    for n in 1..=2 {
        let publish = move |db: &mut tramline::memory::store::Db<'_>| {
            db.publish(tramline::Draft::of(&Paid { n }).key("a"))
        };
        bus.store(&store).write(publish).await.unwrap();
    }
    idle().await;
    assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
    assert_eq!(rigged.rig.log.lines(), ["send 1 Accept"], "nobody tries again");
    let rows = store.memory.outbox().claim(10, SECOND, world.clock.now()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [0, 0]);
}

#[tokio::test]
async fn a_handler_whose_calls_are_refused_to_the_outdated_is_not_charged() {
    async fn publish(_: Ping, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: 1 })
    }
    async fn look(_: Ping) -> Result<(), Failure> {
        Err(outdated("look at another database").into())
    }
    for fails_itself in [false, true] {
        let world = World::new();
        let rigged = world.rigged();
        let endpoint = Endpoint::new("q").retry(Retry::none());
        let endpoint = if fails_itself { endpoint.handle(look) } else { endpoint.handle(publish) };
        let bus = world.bus_on(rigged.clone()).endpoint(endpoint).start().await.unwrap();
        bus.send("q", &Ping { n: 1 }).await.unwrap();
        if !fails_itself {
            rigged.rig.outdated.cancel();
        }
        idle().await;
        assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
        let waiting = world.in_queue("q").await;
        assert_eq!((waiting.len(), waiting[0].failures), (1, 0));
    }
}

/// What an application makes of the bus's errors: it stands for one.
#[derive(Debug)]
struct Transparent(Error);

impl fmt::Display for Transparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Transparent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[tokio::test]
async fn that_the_program_is_outdated_is_heeded_behind_other_errors_and_nothing_more_begins() {
    async fn look(ping: Ping, State(log): State<Log>) -> Result<(), Failure> {
        log.add(format!("look {}", ping.n));
        let error = outdated("look at another database");
        Err(match ping.n {
            1 => Transparent(error).into(),
            2 => Error::new(ErrorKind::Conflict, "pay").because(Transparent(error)).into(),
            _ => Failure::permanent(CommitError::Store(error)),
        })
    }
    for n in 1..=3 {
        let (world, log) = (World::new(), Log::default());
        let endpoint = Endpoint::new("q").concurrency(2).retry(Retry::immediate(3)).handle(look);
        let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
        let sent = bus.send_all("q", &[Ping { n }, Ping { n }]).await;
        assert!(sent.iter().all(Result::is_ok));
        idle().await;
        let error = at_once(bus.drain(60 * SECOND)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
        assert!(error.to_string().contains(": a newer program was here"), "{error}");
        assert_eq!(log.lines(), [format!("look {n}")], "the second was taken with the first");
        let waiting = world.in_queue("q").await;
        assert_eq!(waiting.iter().map(|found| found.failures).collect::<Vec<_>>(), [0, 0]);
    }
}

#[tokio::test]
async fn what_is_left_of_a_batch_is_given_back_by_the_outdated() {
    async fn look(items: Vec<Item<Ping>>, State(log): State<Log>) -> Result<(), Failure> {
        log.add(items.len().to_string());
        if items.len() > 1 {
            Err(Failure::retryable("too many"))
        } else {
            Err(outdated("look").into())
        }
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").batch(4, SECOND).handle_batch(look);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let pings = [1, 2, 3, 4].map(|n| Ping { n });
    assert!(bus.send_all("q", &pings).await.iter().all(Result::is_ok));
    idle().await;
    assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
    assert_eq!(log.lines(), ["4", "2", "1"]);
    let waiting = world.in_queue("q").await;
    assert_eq!(waiting.iter().map(|found| found.failures).collect::<Vec<_>>(), [0; 4]);
}

#[tokio::test]
async fn an_outdated_operator_stops_the_bus() {
    let world = World::new();
    let store = Watched::on(world.other_memory());
    let bus = world.bus().store(store.clone()).start().await.unwrap();
    idle().await;
    store.is_outdated.store(true, SeqCst);
    assert!(!bus.is_stopping(), "it has not met it");
    assert_says_why(&bus.unsent(&store).release().await.unwrap_err());
    assert_says_why(&at_once(bus.until_stopping()).await.unwrap_err());
}

#[tokio::test]
async fn the_log_says_once_why_a_bus_stops() {
    if let Some(child) = alone("outdated::the_log_says_once_why_a_bus_stops") {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let (rigged, written) = (world.rigged(), Written::default());
    let _local = written.begin();
    rigged.rig.prefetches.store(true, SeqCst);
    let bus = start(&world, &rigged, &log, &gate).await;
    for n in 1..=20 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    rigged.rig.outdated.cancel();
    gate.0.add_permits(1);
    idle().await;
    assert_says_why(&at_once(bus.drain(60 * SECOND)).await.unwrap_err());
    let text = written.text();
    let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0].contains("the bus stops") && errors[0].contains("a newer program"), "{text}");
    assert!(!text.contains("WARN"), "{text}");
}
