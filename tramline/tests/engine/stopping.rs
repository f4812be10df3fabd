//! Drains: what runs is finished, the rest goes back, and nothing is lost.

use crate::kit::{Answer, Log, Order, Paid, Ping, SECOND, World, alone, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Semaphore;
use tramline::core::ErrorKind;
use tramline::{Bus, Drained, Endpoint, Failure, Outbox, State};

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

async fn wait(
    ping: Ping,
    State(gate): State<Gate>,
    State(log): State<Log>,
    outbox: Outbox,
) -> Result<(), Failure> {
    log.add(format!("begin {}", ping.n));
    gate.0.acquire().await?.forget();
    outbox.publish(&Paid { n: ping.n })?;
    log.add(format!("end {}", ping.n));
    Ok(())
}

async fn start(world: &World, log: &Log, gate: &Gate) -> Bus {
    let endpoint = Endpoint::new("q").concurrency(2).handle(wait);
    world.bus().state(log.clone()).state(gate.clone()).endpoint(endpoint).start().await.unwrap()
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_takes_nothing_new() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    for n in 1..=4 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    let drain = tokio::spawn({
        let bus = bus.clone();
        async move { bus.drain(60 * SECOND).await.unwrap() }
    });
    idle().await;
    assert!(bus.is_stopping() && !drain.is_finished());
    bus.publish(&Order::of(1)).await.expect("handlers may still need to publish");
    gate.0.add_permits(10);
    idle().await;
    assert!(drain.is_finished());
    assert_eq!(drain.await.unwrap(), Drained::Clean);
    assert_eq!(log.lines(), ["begin 1", "begin 2", "end 1", "end 2"]);
    assert_eq!(world.depth("q").await, [2, 0, 0, 0]);
}

#[tokio::test]
async fn a_drain_over_its_limit_drops_what_runs_and_returns_it_uncharged() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let drain = tokio::spawn(async move { bus.drain(3 * SECOND).await.unwrap() });
    world.wind(2 * SECOND).await;
    assert!(!drain.is_finished());
    world.wind(SECOND).await;
    assert!(drain.is_finished());
    assert_eq!(drain.await.unwrap(), Drained::CutShort);
    let waiting = world.in_queue("q").await;
    assert_eq!((waiting.len(), waiting[0].failures), (1, 0));
    assert_eq!(world.depth("q").await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn what_was_prefetched_is_returned_by_a_drain() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let rigged = world.rigged();
    rigged.rig.prefetches.store(true, SeqCst);
    let endpoint = Endpoint::new("q").concurrency(1).prefetch(10).handle(wait);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(endpoint).start().await.unwrap();
    let pings: Vec<_> = (1..=5).map(|n| Ping { n }).collect();
    assert!(bus.send_all("q", &pings).await.iter().all(Result::is_ok));
    idle().await;
    assert_eq!(world.depth("q").await, [0, 5, 0, 0]);
    let drain = tokio::spawn(async move { bus.drain(60 * SECOND).await.unwrap() });
    idle().await;
    assert_eq!(world.depth("q").await, [4, 1, 0, 0]);
    gate.0.add_permits(1);
    assert_eq!(at_once(drain).await.unwrap(), Drained::Clean);
    assert_eq!(log.lines(), ["begin 1", "end 1"]);
}

#[tokio::test]
async fn one_that_cannot_be_returned_keeps_no_other_from_it() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let rigged = world.rigged();
    rigged.rig.prefetches.store(true, SeqCst);
    let endpoint = Endpoint::new("q").concurrency(1).prefetch(10).handle(wait);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(endpoint).start().await.unwrap();
    let pings: Vec<_> = (1..=5).map(|n| Ping { n }).collect();
    assert!(bus.send_all("q", &pings).await.iter().all(Result::is_ok));
    idle().await;
    rigged.rig.failing_returns.store(1, SeqCst);
    let _drain = tokio::spawn(async move { bus.drain(60 * SECOND).await });
    idle().await;
    assert_eq!(world.depth("q").await, [3, 2, 0, 0]);
}

#[tokio::test]
async fn an_idle_bus_drains_at_once_and_again_and_from_many_callers() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    let (first, second) =
        at_once(async { tokio::join!(bus.drain(60 * SECOND), bus.drain(60 * SECOND)) }).await;
    assert_eq!((first.unwrap(), second.unwrap()), (Drained::Clean, Drained::Clean));
    assert_eq!(at_once(bus.drain(60 * SECOND)).await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn a_bus_that_is_drained_refuses_to_publish() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    let _drained = bus.drain(SECOND).await.unwrap();
    let error = bus.publish(&Paid { n: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let answers = bus.send_all("q", &[Ping { n: 1 }, Ping { n: 2 }]).await;
    assert!(answers.iter().all(|a| a.as_ref().unwrap_err().kind() == ErrorKind::Closed));
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_drain_that_is_dropped_can_be_asked_for_again() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert!(futures_util::FutureExt::now_or_never(bus.drain(SECOND)).is_none());
    gate.0.add_permits(1);
    assert_eq!(at_once(bus.drain(60 * SECOND)).await.unwrap(), Drained::Clean);
    assert_eq!(log.lines(), ["begin 1", "end 1"]);
}

#[tokio::test]
async fn what_hangs_in_publishing_is_returned_when_the_limit_is_over() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    gate.0.add_permits(10);
    let rigged = world.rigged();
    let endpoint = Endpoint::new("q").handle(wait);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    rigged.rig.answers.lock().push_back(Answer::Hang);
    idle().await;
    assert_eq!(world.depth("q").await, [0, 1, 0, 0]);
    let drain = tokio::spawn(async move { bus.drain(SECOND).await.unwrap() });
    world.wind(SECOND).await;
    assert!(drain.is_finished(), "not only when the grace is over as well");
    assert_eq!(world.depth("q").await, [1, 0, 0, 0]);
    assert_eq!(rigged.rig.log.lines().last().unwrap(), "return");
}

#[tokio::test]
async fn running_ends_when_the_bus_is_drained_elsewhere() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    let running = tokio::spawn({
        let bus = bus.clone();
        async move { bus.run(SECOND).await.unwrap() }
    });
    idle().await;
    assert!(!running.is_finished());
    let _drained = bus.drain(SECOND).await.unwrap();
    assert_eq!(at_once(running).await.unwrap(), Drained::Clean);
}

/// Signals are for whole processes.
#[cfg(unix)]
#[tokio::test]
async fn sigterm_drains_a_running_bus() {
    use std::io::{BufRead, BufReader};
    let Some(mut child) = alone("stopping::sigterm_drains_a_running_bus") else {
        return run_until_sigterm().await;
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("child: begin 1")));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(lines.any(|line| line.ends_with("child: Clean begin 1, end 1")));
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[expect(clippy::print_stdout, reason = "its parent reads it")]
async fn run_until_sigterm() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::shut());
    let bus = start(&world, &log, &gate).await;
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    let running = tokio::spawn({
        let bus = bus.clone();
        async move { bus.run(60 * SECOND).await.unwrap() }
    });
    idle().await;
    println!("child: {}", log.lines().join(", "));
    while !bus.is_stopping() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    idle().await;
    assert!(!running.is_finished(), "it waits for what runs");
    gate.0.add_permits(1);
    let drained = at_once(running).await.unwrap();
    println!("child: {drained:?} {}", log.lines().join(", "));
}
