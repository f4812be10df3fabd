//! Workers of a host: when they run, what happens when a run takes too long or fails, and what they are refused.

use crate::hosting::{Ended, clean, start};
use crate::kit::{Log, SECOND, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;
use tramline::core::clock::{Entropy, ManualClock};
use tramline::host::{Host, HostHandle, Overrun, Worker, WorkerBuilder};
use tramline::{Cancel, ErrorKind, Failure, Retry};

/// What a worker runs: it says when, and does what it is told.
struct Bench {
    clock: ManualClock,
    log: Log,
    done: Arc<Notify>,
    handle: HostHandle,
    ended: Ended,
}

impl Bench {
    /// `hangs`: the runs that only end when they are told to; `fails`: those that fail.
    fn start(builder: WorkerBuilder, hangs: &'static [u32], fails: &'static [u32]) -> Self {
        Self::start_in(Host::new(), builder, hangs, fails)
    }

    fn start_in(
        host: Host,
        builder: WorkerBuilder,
        hangs: &'static [u32],
        fails: &'static [u32],
    ) -> Self {
        let (clock, log) = (ManualClock::default(), Log::default());
        let (done, count) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let (at, told, gate) = (clock.clone(), log.clone(), done.clone());
        let run = move |_: Cancel| {
            let nth = count.fetch_add(1, SeqCst) + 1;
            let seconds = tramline::core::clock::Clock::now(&at).as_millis() / 1000;
            told.add(format!("{nth} at {seconds}"));
            let gate = gate.clone();
            async move {
                if hangs.contains(&nth) {
                    gate.notified().await;
                }
                match fails.contains(&nth) {
                    true => Err(Failure::retryable("no")),
                    false => Ok(()),
                }
            }
        };
        let worker = builder.run(run).unwrap();
        let (handle, ended) = start(host.clock(clock.clone()).worker("w", worker));
        Self { clock, log, done, handle, ended }
    }

    async fn wind(&self, seconds: u32) {
        self.wind_by(SECOND, seconds).await;
    }

    async fn wind_by(&self, step: Duration, steps: u32) {
        for _ in 0..steps {
            idle().await;
            self.clock.advance(step);
        }
        idle().await;
    }
}

#[tokio::test]
async fn a_worker_runs_each_interval_and_finishes_its_run_when_the_host_stops() {
    let bench = Bench::start(Worker::every(10 * SECOND), &[3], &[]);
    bench.wind(9).await;
    assert_eq!(bench.log.len(), 0);
    bench.wind(21).await;
    assert_eq!(bench.log.lines(), ["1 at 10", "2 at 20", "3 at 30"]);
    bench.handle.stop();
    idle().await;
    assert!(!bench.ended.is_finished(), "a run is under way");
    bench.done.notify_one();
    assert_eq!(at_once(bench.ended).await.unwrap().unwrap(), clean());
}

#[tokio::test]
async fn a_worker_that_takes_too_long_does_as_it_was_told() {
    for (overrun, after) in [
        (Overrun::Skip, ["1 at 0", "2 at 40"].as_slice()),
        (Overrun::Queue, &["1 at 0", "2 at 35", "3 at 35", "4 at 35", "5 at 40"]),
        (Overrun::Late, &["1 at 0", "2 at 35"]),
    ] {
        let builder = Worker::every(10 * SECOND).at_once().overrun(overrun);
        let bench = Bench::start(builder, &[1], &[]);
        bench.wind(35).await;
        bench.done.notify_one();
        bench.wind(6).await;
        assert_eq!(bench.log.lines(), after, "{overrun:?}");
    }
}

#[tokio::test]
async fn a_worker_that_fails_pauses_longer_each_time_and_never_gives_up() {
    let backoff = Retry::list([3 * SECOND, 7 * SECOND]);
    let builder = Worker::every(SECOND).backoff(backoff);
    let bench = Bench::start(builder, &[], &[2, 3, 4]);
    bench.wind(21).await;
    let lines = ["1 at 1", "2 at 2", "3 at 5", "4 at 12", "5 at 19", "6 at 20", "7 at 21"];
    assert_eq!(bench.log.lines(), lines);
}

#[tokio::test]
async fn a_run_over_its_time_limit_is_dropped_and_has_failed() {
    let builder = Worker::every(10 * SECOND).time_limit(2 * SECOND);
    let bench = Bench::start(builder.backoff(Retry::fixed(15 * SECOND)), &[1], &[]);
    bench.wind(40).await;
    assert_eq!(bench.log.lines(), ["1 at 10", "2 at 27", "3 at 30", "4 at 40"]);
}

/// Is counted while it lives.
struct Scope(Arc<AtomicU32>);

impl Drop for Scope {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[tokio::test]
async fn each_run_has_a_scope_of_its_own_which_is_gone_after_it() {
    let (clock, alive, log) = (ManualClock::default(), Arc::new(AtomicU32::new(0)), Log::default());
    let (counted, made) = (alive.clone(), AtomicU32::new(0));
    let make = move || {
        let nth = made.fetch_add(1, SeqCst);
        let counted = counted.clone();
        async move {
            if nth == 1 {
                return Err(Failure::retryable("no scope"));
            }
            counted.fetch_add(1, SeqCst);
            Ok(Scope(counted))
        }
    };
    let told = log.clone();
    let run = move |scope: Scope, _: Cancel| {
        let told = told.clone();
        async move { told.add(format!("{} alive", scope.0.load(SeqCst))) }
    };
    let builder = Worker::every(SECOND).backoff(Retry::immediate(1));
    let worker = builder.run_in(make, run).unwrap();
    let (_, _ended) = start(Host::new().clock(clock.clone()).worker("w", worker));
    for _ in 0..3 {
        idle().await;
        clock.advance(SECOND);
    }
    idle().await;
    assert_eq!(log.lines(), ["1 alive", "1 alive"], "the second run has no scope, and is none");
    assert_eq!(alive.load(SeqCst), 0);
}

#[tokio::test]
async fn a_worker_that_could_never_rest_or_finish_is_refused_when_it_is_made() {
    let error = Worker::every(Duration::ZERO).run(|_| async {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("an interval of 0"), "{error}");
    let builder = Worker::every(SECOND).time_limit(Duration::ZERO);
    assert!(builder.run(|_| async {}).unwrap_err().to_string().contains("a time limit of 0"));
}

/// Draws the same chance each time: three quarters.
struct ThreeQuarters;

impl Entropy for ThreeQuarters {
    fn bits(&self) -> u128 {
        u128::from(u64::MAX / 4 * 3)
    }
}

#[tokio::test]
async fn jitter_lets_a_run_begin_later_by_its_chance_and_the_intervals_do_not_drift() {
    let builder = Worker::every(10 * SECOND).jitter(4 * SECOND);
    let bench = Bench::start_in(Host::new().entropy(ThreeQuarters), builder, &[], &[]);
    bench.wind(40).await;
    assert_eq!(bench.log.lines(), ["1 at 13", "2 at 23", "3 at 33"]);
}

/// New York is five hours behind, in January 1970.
#[cfg(feature = "cron")]
#[tokio::test]
async fn a_worker_by_cron_runs_at_its_moments_in_its_zone() {
    const HOUR: Duration = Duration::from_secs(3600);
    let builder = Worker::cron("0 3 * * *", "America/New_York").unwrap();
    let bench = Bench::start(builder, &[], &[]);
    bench.wind_by(HOUR, 7).await;
    assert_eq!(bench.log.len(), 0);
    bench.wind_by(HOUR, 50).await;
    let lines = ["1 at 28800", "2 at 115200", "3 at 201600"];
    assert_eq!(bench.log.lines(), lines);
}

/// Their times would be another rhythm than was asked for, or none.
#[cfg(feature = "cron")]
#[test]
fn a_cron_expression_or_a_zone_that_nobody_can_read_is_refused_when_the_worker_is_made() {
    for (expression, zone, names) in [
        ("0 25 * * *", "UTC", "0 25 * * *"),
        ("every night", "UTC", "every night"),
        ("0 3 * * *", "America/Nowhere", "America/Nowhere"),
        ("0 3 30 2 *", "UTC", "0 3 30 2 *"),
    ] {
        let error = Worker::cron(expression, zone).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(names), "{error}");
    }
}
