//! The host: order, readiness, restarts, limits.

#[cfg(unix)]
use crate::kit::alone;
use crate::kit::{Log, Paid, SECOND, World, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tramline::background::BackgroundQueue;
use tramline::core::clock::ManualClock;
use tramline::host::{Host, HostError, HostHandle, HostStopped, Hosted, Running, ServiceState};
use tramline::{Cancel, Endpoint, Failure, Retry, State};

pub(super) type Ended = JoinHandle<Result<HostStopped, HostError>>;

pub(super) fn start(host: Host) -> (HostHandle, Ended) {
    (host.handle(), tokio::spawn(host.run()))
}

pub(super) fn clean() -> HostStopped {
    HostStopped::default()
}

/// A service that says when it begins and when it ends, for which it needs so long.
fn named(log: &Log, name: &'static str) -> Hosted {
    let log = log.clone();
    Hosted::new(name, move |running: Running| {
        let log = log.clone();
        async move {
            log.add(format!("{name} begins"));
            running.stopping().await;
            log.add(format!("{name} ends"));
        }
    })
}

#[tokio::test]
async fn services_start_in_order_when_the_one_before_is_ready_and_stop_in_reverse() {
    let (log, ready) = (Log::default(), Arc::new(Notify::new()));
    let (told, gate) = (log.clone(), ready.clone());
    let slow = Hosted::new("slow", move |running: Running| {
        let (told, gate) = (told.clone(), gate.clone());
        async move {
            gate.notified().await;
            told.add("slow is ready");
            running.ready();
            running.stopping().await;
            idle().await;
            told.add("slow ends");
        }
    });
    let host = Host::new().with(named(&log, "a")).with(slow.says_ready()).with(named(&log, "b"));
    let (handle, ended) = start(host);
    idle().await;
    assert_eq!(log.take(), ["a begins"]);
    assert!(!handle.is_ready());
    let states: Vec<_> = handle.services().into_iter().map(|service| service.state).collect();
    assert_eq!(states, [ServiceState::Ready, ServiceState::Starting, ServiceState::Waiting]);
    ready.notify_one();
    assert!(at_once(handle.ready()).await);
    idle().await;
    assert_eq!(log.take(), ["slow is ready", "b begins"]);
    handle.stop();
    assert!(!handle.is_ready());
    assert_eq!(at_once(ended).await.unwrap().unwrap(), clean());
    assert_eq!(log.take(), ["b ends", "slow ends", "a ends"]);
}

#[tokio::test]
async fn a_service_that_fails_ends_the_host_and_is_named() {
    let log = Log::default();
    let fails = |_: Running| async { Err::<(), _>(Failure::retryable("no port is free")) };
    let panics = |_: Running| -> std::future::Ready<()> { panic!("at once") };
    for (bad, why) in [
        (Hosted::new("bad", fails), "the service `bad` has failed: no port is free"),
        (Hosted::new("bad", panics), "the service `bad` has failed: panicked: at once"),
    ] {
        let (handle, ended) =
            start(Host::new().with(named(&log, "a")).with(bad).with(named(&log, "b")));
        assert!(!at_once(handle.ready()).await, "it never will be");
        let error = at_once(ended).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), why);
        assert_eq!((error.service.as_deref(), error.stopped), (Some("bad"), clean()));
        let lines = log.take();
        assert_eq!(lines.first().map(String::as_str), Some("a begins"));
        assert_eq!(lines.last().map(String::as_str), Some("a ends"));
    }
}

#[tokio::test]
async fn a_service_that_may_is_begun_again_after_pauses_and_then_given_up() {
    let (clock, begun) = (ManualClock::default(), Arc::new(AtomicU32::new(0)));
    let counted = begun.clone();
    let fails = move |_: Running| {
        let nth = counted.fetch_add(1, SeqCst);
        async move {
            assert!(nth > 0, "the first one panics");
            Err::<(), _>(Failure::retryable("no"))
        }
    };
    let restart = Retry::list([SECOND, 2 * SECOND]);
    let host = Host::new().clock(clock.clone()).with(Hosted::new("x", fails).restart(restart));
    let (handle, ended) = start(host);
    for (wait, count) in [(SECOND, 1), (2 * SECOND, 2)] {
        idle().await;
        assert_eq!(begun.load(SeqCst), count);
        let status = handle.services().remove(0);
        assert_eq!((status.state, status.restarts), (ServiceState::Restarting, count.into()));
        assert!(!handle.is_ready());
        clock.advance(wait - Duration::from_micros(1));
        idle().await;
        assert_eq!(begun.load(SeqCst), count, "not before its pause is over");
        clock.advance(Duration::from_micros(1));
    }
    let error = at_once(ended).await.unwrap().unwrap_err();
    assert_eq!((begun.load(SeqCst), error.service.as_deref()), (3, Some("x")));
    assert_eq!(handle.services()[0].state, ServiceState::Failed);
}

#[tokio::test]
async fn a_service_that_was_well_for_long_has_all_its_restarts_again() {
    let (clock, begun) = (ManualClock::default(), Arc::new(AtomicU32::new(0)));
    let (counted, inside) = (begun.clone(), clock.clone());
    let fails_later = move |_: Running| {
        counted.fetch_add(1, SeqCst);
        let later = tramline::core::clock::Clock::sleep_until(
            &inside,
            tramline::core::clock::Clock::now(&inside).after(61 * SECOND),
        );
        async move {
            later.await;
            Err::<(), _>(Failure::retryable("no"))
        }
    };
    let hosted = Hosted::new("x", fails_later).restart(Retry::list([SECOND]));
    let (handle, _ended) = start(Host::new().clock(clock.clone()).with(hosted));
    for count in 1..5 {
        idle().await;
        assert_eq!(begun.load(SeqCst), count);
        clock.advance(61 * SECOND);
        idle().await;
        clock.advance(SECOND);
    }
    handle.stop();
}

#[tokio::test]
async fn what_has_not_ended_within_the_limit_is_dropped_and_the_rest_is_told_at_once() {
    let (clock, log) = (ManualClock::default(), Log::default());
    let hangs = |_: Running| std::future::pending::<()>();
    let host = Host::new().clock(clock.clone()).limit(3 * SECOND);
    let host = host.with(named(&log, "a")).service("hangs", hangs).with(named(&log, "b"));
    let (handle, ended) = start(host);
    assert!(at_once(handle.ready()).await);
    handle.stop();
    idle().await;
    assert_eq!(log.lines(), ["a begins", "b begins", "b ends"]);
    assert!(!ended.is_finished());
    clock.advance(3 * SECOND);
    let stopped = at_once(ended).await.unwrap().unwrap();
    assert_eq!(stopped.cut_short, ["hangs"]);
    assert_eq!(log.lines().last().map(String::as_str), Some("a ends"));
}

#[tokio::test]
async fn a_service_that_is_never_ready_is_a_failure() {
    let clock = ManualClock::default();
    let hangs = Hosted::new("hangs", |running: Running| running.stopping()).says_ready();
    let host = Host::new().clock(clock.clone()).start_limit(SECOND).with(hangs);
    let (_, ended) = start(host);
    idle().await;
    clock.advance(SECOND);
    let error = at_once(ended).await.unwrap().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`hangs`") && text.contains("become ready within 1s"), "{text}");
}

#[tokio::test]
async fn a_host_ends_when_all_its_services_have_and_two_of_one_name_are_refused() {
    let (_, ended) = start(Host::new().service("a", |_| async {}).service("b", |_| async {}));
    assert_eq!(at_once(ended).await.unwrap().unwrap(), clean());
    let begun = Arc::new(AtomicU32::new(0));
    let counted = begun.clone();
    let counts = move |_: Running| {
        counted.fetch_add(1, SeqCst);
        async {}
    };
    let (_, ended) = start(Host::new().service("a", counts.clone()).service("a", counts));
    let error = at_once(ended).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("service `a`"), "{error}");
    assert_eq!(begun.load(SeqCst), 0);
}

#[tokio::test]
async fn buses_and_queues_are_stopped_when_their_turn_has_come() {
    let (world, log) = (World::new(), Log::default());
    let hold = Arc::new(Notify::new());
    let held = hold.clone();
    let handler = move |paid: Paid, State(log): State<Log>| {
        let held = held.clone();
        async move {
            held.notified().await;
            log.add(format!("paid {}", paid.n));
        }
    };
    let endpoint = Endpoint::new("mail").subscribe::<Paid>().handle(handler);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let done = log.clone();
    let work = move |word: &'static str, _: Cancel| {
        let done = done.clone();
        async move { done.add(word) }
    };
    let queue = BackgroundQueue::named("words").start(work).unwrap();
    let host = Host::new().clock(world.clock.clone());
    let host = host.bus("bus", bus.clone()).queue(queue.clone()).with(named(&log, "http"));
    let (handle, ended) = start(host);
    assert!(at_once(handle.ready()).await);
    bus.publish(&Paid { n: 1 }).await.unwrap();
    let _ = queue.push("pushed").await.unwrap();
    idle().await;
    handle.stop();
    idle().await;
    assert!(!ended.is_finished(), "the handler is at work");
    hold.notify_one();
    assert_eq!(at_once(ended).await.unwrap().unwrap(), clean());
    assert_eq!(log.lines(), ["http begins", "pushed", "http ends", "paid 1"]);
    assert!(bus.publish(&Paid { n: 2 }).await.is_err(), "it is closed");
}

#[tokio::test]
async fn a_failure_that_no_pause_can_mend_is_not_tried_again() {
    let fails = |_: Running| async { Err::<(), _>(Failure::permanent("no such file")) };
    let hosted = Hosted::new("x", fails).restart(Retry::immediate(5));
    let (handle, ended) = start(Host::new().with(hosted));
    let error = at_once(ended).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the service `x` has failed: no such file");
    assert_eq!(handle.services()[0].restarts, 0);
}

#[tokio::test]
async fn what_a_queue_and_a_bus_cannot_finish_in_time_is_cut_short_and_told() {
    let (world, log) = (World::new(), Log::default());
    let handler = |_: Paid, State(log): State<Log>| async move {
        log.add("handled");
        std::future::pending::<()>().await;
    };
    let endpoint = Endpoint::new("mail").subscribe::<Paid>().handle(handler);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let told = log.clone();
    let work = move |_: u32, cancel: Cancel| {
        let told = told.clone();
        async move {
            tokio::spawn(async move {
                cancel.cancelled().await;
                told.add("cancelled");
            });
            std::future::pending::<()>().await;
        }
    };
    let queue = BackgroundQueue::named("hangs").clock(world.clock.clone()).start(work).unwrap();
    let host = Host::new().clock(world.clock.clone()).limit(8 * SECOND);
    let host = host.bus("bus", bus.clone()).queue(queue.clone()).with(named(&log, "http"));
    let (handle, ended) = start(host);
    assert!(at_once(handle.ready()).await);
    bus.publish(&Paid { n: 1 }).await.unwrap();
    let _ = queue.push(1).await.unwrap();
    idle().await;
    handle.stop();
    let wind = async |seconds: u32| {
        for _ in 0..2 * seconds {
            idle().await;
            world.clock.advance(SECOND / 2);
        }
        idle().await;
    };
    wind(7).await;
    assert_eq!(log.len(), 4, "the queue has cut its work short, in time to say so");
    wind(3).await;
    let stopped = at_once(ended).await.unwrap().unwrap();
    assert_eq!(stopped.cut_short, ["bus", "hangs"]);
    assert_eq!(log.lines(), ["http begins", "handled", "http ends", "cancelled"]);
    assert_eq!(queue.figures().running, 0);
}

#[tokio::test]
async fn a_bus_that_somebody_else_drains_is_left_to_him() {
    let (world, log, hold) = (World::new(), Log::default(), Arc::new(Notify::new()));
    let held = hold.clone();
    let handler = move |_: Paid, State(log): State<Log>| {
        let held = held.clone();
        async move {
            log.add("begun");
            held.notified().await;
            log.add("done");
        }
    };
    let endpoint = Endpoint::new("mail").subscribe::<Paid>().handle(handler);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    let host = Host::new().clock(world.clock.clone()).bus("bus", bus.clone());
    let (handle, ended) = start(host);
    assert!(at_once(handle.ready()).await);
    bus.publish(&Paid { n: 1 }).await.unwrap();
    idle().await;
    let drained = tokio::spawn({
        let bus = bus.clone();
        async move { bus.drain(60 * SECOND).await }
    });
    idle().await;
    assert_eq!(log.lines(), ["begun"]);
    // Longer than the host itself would wait.
    world.clock.advance(50 * SECOND);
    idle().await;
    hold.notify_one();
    assert_eq!(at_once(drained).await.unwrap().unwrap(), tramline::Drained::Clean);
    assert_eq!(at_once(ended).await.unwrap().unwrap(), clean());
    assert_eq!(log.lines(), ["begun", "done"]);
}

/// Signals are for whole processes.
#[cfg(unix)]
#[tokio::test]
async fn sigterm_stops_the_services_of_a_host_in_reverse_and_lets_them_finish() {
    use std::io::{BufRead, BufReader};
    let test = "hosting::sigterm_stops_the_services_of_a_host_in_reverse_and_lets_them_finish";
    let Some(mut child) = alone(test) else {
        return run_until_sigterm().await;
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("child: first begins, second begins")));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = "child: first begins, second begins, second ends, first ends";
    assert!(lines.any(|line| line.ends_with(ended)));
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[expect(clippy::print_stdout, reason = "its parent reads it")]
async fn run_until_sigterm() {
    let log = Log::default();
    let (handle, ended) = start(Host::new().with(named(&log, "first")).with(named(&log, "second")));
    assert!(handle.ready().await);
    println!("child: {}", log.lines().join(", "));
    assert_eq!(ended.await.unwrap().unwrap(), clean());
    println!("child: {}", log.lines().join(", "));
}
