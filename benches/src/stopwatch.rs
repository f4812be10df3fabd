//! Time and processor time of the part of a run that counts.

use crate::cpu;
use crate::round::Run;
use std::time::{Duration, Instant};

pub(crate) struct Stopwatch {
    began: Instant,
    used: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), used: cpu::used() }
    }

    /// Messages a second.
    pub(crate) fn rate(&self, messages: u64) -> Run {
        let rate = messages as f64 / self.began.elapsed().as_secs_f64();
        self.run(messages, vec![rate])
    }

    /// Figures that the case itself has taken.
    pub(crate) fn run(&self, messages: u64, values: Vec<f64>) -> Run {
        let used = cpu::used() - self.used;
        Run { values, cpu_micros: used.as_secs_f64() * 1e6 / messages as f64 }
    }

    pub(crate) fn nanos_per_message(&self, messages: u64) -> f64 {
        self.began.elapsed().as_secs_f64() * 1e9 / messages as f64
    }
}
