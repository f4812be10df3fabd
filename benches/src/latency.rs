//! The way from end to end, at a steady pace.

use crate::Result;
use crate::completion::Completion;
use crate::message::OrderPlaced;
use crate::round::{Figure, Run};
use crate::stopwatch::Stopwatch;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tramline::core::clock::{Clock, SystemClock};

/// Messages a second.
pub(crate) const PACE: u64 = 1000;

pub(crate) const FIGURES: &[Figure] =
    &[Figure { name: "p50", unit: "ms" }, Figure { name: "p99", unit: "ms" }];

/// How long after its time each message came first: the time of the call that published it, or for
/// which it was published. Clones are the same.
#[derive(Clone)]
pub(crate) struct Latencies {
    pub(crate) done: Completion,
    micros: Arc<Mutex<Vec<i64>>>,
}

impl Latencies {
    pub(crate) fn of(messages: u64) -> Self {
        let micros = Arc::new(Mutex::new(Vec::with_capacity(messages as usize)));
        Self { done: Completion::of(messages), micros }
    }

    /// A handler has begun.
    pub(crate) fn note(&self, order: &OrderPlaced) {
        let took = SystemClock.now().as_micros() - order.placed_at;
        // Until it is in, who was told that this was the last one cannot look.
        let mut micros = self.micros.lock().unwrap_or_else(PoisonError::into_inner);
        if self.done.count(order.number()) {
            micros.push(took);
        }
    }

    /// So many percent took at most so many milliseconds.
    pub(crate) fn percentiles(&self, percents: &[usize]) -> Vec<f64> {
        let micros = self.micros.lock().unwrap_or_else(PoisonError::into_inner);
        percentiles(micros.clone(), percents)
    }

    pub(crate) fn run(&self, watch: &Stopwatch, messages: u64) -> Run {
        watch.run(messages, self.percentiles(&[50, 99]))
    }
}

/// So many percent of `micros` are at most so many milliseconds.
pub(crate) fn percentiles(mut micros: Vec<i64>, percents: &[usize]) -> Vec<f64> {
    micros.sort_unstable();
    let last = micros.len().saturating_sub(1);
    let at = |percent: &usize| {
        let place = (micros.len() * percent / 100).min(last);
        micros.get(place).map_or(f64::NAN, |micros| *micros as f64 / 1000.0)
    };
    percents.iter().map(at).collect()
}

/// Calls `publish` again and again, each time when the call before has ended, and answers how long
/// one call took, in milliseconds: half of them took at most that.
///
/// In a task, like the handler of a request: the thread that waits in `block_on` is none of the
/// runtime's, and each wake-up from one of its tasks would cost a switch between threads.
pub(crate) async fn publish_each<P, F>(messages: u64, publish: P) -> Result<Run>
where
    P: Fn(OrderPlaced) -> F + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    tokio::spawn(async move {
        let watch = Stopwatch::start();
        let mut millis = Vec::with_capacity(messages as usize);
        for number in 0..messages {
            let order = OrderPlaced::new(number);
            let began = Instant::now();
            publish(order).await?;
            millis.push(began.elapsed().as_secs_f64() * 1e3);
        }
        millis.sort_by(f64::total_cmp);
        let p50 = millis.get(millis.len() / 2).copied().unwrap_or(f64::NAN);
        Ok(watch.run(messages, vec![p50]))
    })
    .await?
}

/// Calls `publish` so often a second, whether or not the calls before have ended.
pub(crate) async fn paced<P, F>(messages: u64, a_second: u64, publish: P) -> Result<()>
where
    P: Fn(OrderPlaced) -> F,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs(1) / a_second as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls: JoinSet<Result<()>> = JoinSet::new();
    for number in 0..messages {
        ticks.tick().await;
        calls.spawn(publish(OrderPlaced::new(number)));
    }
    while let Some(ended) = calls.join_next().await {
        ended??;
    }
    Ok(())
}
