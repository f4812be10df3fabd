//! How a queue does.

use super::work::Ended;
use metrics::{Counter, Histogram};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a queue does at a moment. Counts are of all since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackgroundFigures {
    /// How many items wait.
    pub depth: usize,
    /// For how long the one at the head has waited.
    pub oldest_age: Option<Duration>,
    /// How many are at work.
    pub running: u64,
    /// How many were done.
    pub done: u64,
    /// How many have failed, panicked, or were over their time limit.
    pub failed: u64,
    /// How many had to leave for others ([`WhenFull`](super::WhenFull)).
    pub displaced: u64,
    /// How many were not taken, because there was no room.
    pub rejected: u64,
    /// The time spent on those that were done and those that have failed.
    pub working_time: Duration,
}

impl BackgroundFigures {
    /// The share of failures among all that has ended, from 0 to 1; 0 if nothing has.
    pub fn error_rate(&self) -> f64 {
        match self.done + self.failed {
            0 => 0.0,
            ended => self.failed as f64 / ended as f64,
        }
    }

    /// How long an item takes, on average; nothing if none has ended.
    pub fn mean_time(&self) -> Option<Duration> {
        let ended = u32::try_from(self.done + self.failed).unwrap_or(u32::MAX);
        self.working_time.checked_div(ended)
    }
}

/// What is counted while a queue works, and told to the `metrics` facade:
/// `tramline_background_total{queue, outcome}` and `tramline_background_seconds{queue}`.
pub(super) struct Counts {
    running: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    cut_short: AtomicU64,
    displaced: AtomicU64,
    rejected: AtomicU64,
    micros: AtomicU64,
    told: Told,
}

struct Told {
    done: Counter,
    failed: Counter,
    cut_short: Counter,
    displaced: Counter,
    rejected: Counter,
    seconds: Histogram,
}

impl Counts {
    pub(super) fn of(queue: &str) -> Self {
        let counter = |outcome: &'static str| {
            metrics::counter!(
                "tramline_background_total", "queue" => queue.to_owned(), "outcome" => outcome
            )
        };
        let told = Told {
            done: counter("done"),
            failed: counter("failed"),
            cut_short: counter("cut_short"),
            displaced: counter("displaced"),
            rejected: counter("rejected"),
            seconds: metrics::histogram!(
                "tramline_background_seconds", "queue" => queue.to_owned()
            ),
        };
        let zero = || AtomicU64::new(0);
        Self {
            running: zero(),
            done: zero(),
            failed: zero(),
            cut_short: zero(),
            displaced: zero(),
            rejected: zero(),
            micros: zero(),
            told,
        }
    }

    pub(super) fn begins(&self) {
        self.running.fetch_add(1, Relaxed);
    }

    pub(super) fn ends(&self, ended: &Ended, took: Duration) {
        self.running.fetch_sub(1, Relaxed);
        let (count, told) = match ended {
            Ended::Done => (&self.done, &self.told.done),
            Ended::CutShort => (&self.cut_short, &self.told.cut_short),
            Ended::Failed(_) | Ended::Panicked(_) | Ended::TimedOut(_) => {
                (&self.failed, &self.told.failed)
            }
        };
        count.fetch_add(1, Relaxed);
        told.increment(1);
        if !matches!(ended, Ended::CutShort) {
            self.micros.fetch_add(took.as_micros() as u64, Relaxed);
            self.told.seconds.record(took);
        }
    }

    pub(super) fn displaced(&self) {
        self.displaced.fetch_add(1, Relaxed);
        self.told.displaced.increment(1);
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
        self.told.rejected.increment(1);
    }

    pub(super) fn cut_short(&self) -> u64 {
        self.cut_short.load(Relaxed)
    }

    /// What is counted; what waits is not known here.
    pub(super) fn figures(&self) -> BackgroundFigures {
        BackgroundFigures {
            depth: 0,
            oldest_age: None,
            running: self.running.load(Relaxed),
            done: self.done.load(Relaxed),
            failed: self.failed.load(Relaxed),
            displaced: self.displaced.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            working_time: Duration::from_micros(self.micros.load(Relaxed)),
        }
    }
}
