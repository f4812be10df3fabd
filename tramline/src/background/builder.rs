//! What a queue is made of, checked when it starts.

use super::queue::{BackgroundQueue, Inner};
use super::shelf::WhenFull;
use super::task::Task;
use super::work::Work;
use crate::Cancel;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::{Error, ErrorKind, Result};

/// A queue to be started: [`BackgroundQueue::named`].
pub struct BackgroundQueueBuilder {
    name: String,
    capacity: usize,
    workers: usize,
    when_full: WhenFull,
    time_limit: Option<Duration>,
    clock: Arc<dyn Clock>,
}

/// More places than anybody can fill: what tokio's semaphore can count.
const CAPACITY_MAX: usize = tokio::sync::Semaphore::MAX_PERMITS;
/// More tasks than this are a mistake.
const WORKERS_MAX: usize = 100_000;

impl BackgroundQueueBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            capacity: 1000,
            workers: 1,
            when_full: WhenFull::default(),
            time_limit: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// How many items may wait, beside those at work; 1000 if not said.
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// How many items are worked on at once; 1 if not said, and then in the order in which they came.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// What becomes of an item for which there is no room; whoever pushes it waits, if not said.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// How long the work on one item may take; as long as it likes if not said. Work that is over its limit
    /// is dropped at its next `.await`, and has failed.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Takes the time from `clock`; the machine's own if not said.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts the workers, which do `work` on each item.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`], with all that is wrong: an empty name, no room, no workers, no time, no
    /// runtime of tokio.
    pub fn start<T: Send + 'static>(
        self,
        work: impl Work<T> + 'static,
    ) -> Result<BackgroundQueue<T>> {
        let runtime = tokio::runtime::Handle::try_current();
        let mut problems: Vec<String> = Vec::new();
        let mut wrong = |is_wrong: bool, what: &str| {
            if is_wrong {
                problems.push(what.to_owned());
            }
        };
        wrong(self.name.is_empty(), "it has no name");
        wrong(self.capacity == 0, "a capacity of 0 leaves no room for any item");
        wrong(self.capacity > CAPACITY_MAX, "its capacity is larger than any memory");
        wrong(self.workers == 0, "with 0 workers nothing is ever done");
        wrong(self.workers > WORKERS_MAX, "it has more than 100,000 workers");
        wrong(
            self.time_limit.is_some_and(|limit| limit.is_zero()),
            "a time limit of 0 lets nothing finish",
        );
        wrong(runtime.is_err(), "there is no runtime of tokio: start it inside of one");
        if !problems.is_empty() {
            let doing = format!("start the background queue `{}`", self.name);
            return Err(Error::new(ErrorKind::Misconfigured, doing).because(problems.join("; ")));
        }
        let Self { name, capacity, workers, when_full, time_limit, clock } = self;
        let inner = Inner::new(name.into(), capacity, when_full, time_limit, clock);
        Ok(BackgroundQueue::started(inner, workers, work))
    }

    /// Starts the workers of a queue of [`Task`]s: async closures that are pushed with all they need, by
    /// [`BackgroundQueue::spawn`].
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_tasks(self) -> Result<BackgroundQueue<Task>> {
        self.start(|task: Task, cancel: Cancel| task.run(cancel))
    }
}

impl fmt::Debug for BackgroundQueueBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundQueueBuilder")
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("workers", &self.workers)
            .field("when_full", &self.when_full)
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}
