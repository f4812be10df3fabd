//! A running queue: push, look, stop.

use super::builder::BackgroundQueueBuilder;
use super::figures::{BackgroundFigures, Counts};
use super::shelf::{Put, Shelf, WhenFull};
use super::task::Task;
use super::work::{Work, run};
use crate::Cancel;
use crate::handler::IntoOutcome;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::coop::consume_budget;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tramline_core::clock::{Clock, Timestamp};

/// A running queue in this process. Clones are the same queue.
///
/// When the last clone is dropped, what waits is still done, and then its workers end.
pub struct BackgroundQueue<T: Send + 'static>(Arc<Handle<T>>);

/// What all clones share, and workers do not.
struct Handle<T: Send + 'static>(Arc<Inner<T>>);

/// A queue and its workers' tools.
pub(super) struct Inner<T> {
    name: Arc<str>,
    shelf: Mutex<Shelf<T>>,
    /// Free places, where whoever pushes waits for one.
    room: Option<Semaphore>,
    arrived: Notify,
    time_limit: Option<Duration>,
    clock: Arc<dyn Clock>,
    counts: Counts,
    killed: CancellationToken,
    workers: TaskTracker,
}

/// What became of an item that was taken.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "another item may have had to leave"]
pub enum Pushed<T> {
    /// It waits, or is at work by now.
    In,
    /// It waits, and this one, which waited before, will never be worked on.
    InPlaceOf(T),
}

/// Why an item was not taken. It comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum NotPushed<T> {
    /// There is no room for it.
    Full(T),
    /// The queue was stopped.
    Stopped(T),
}

/// What a stop has left behind.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "work may be left"]
pub struct Stopped<T> {
    /// What was not begun, in its order.
    pub left: Vec<T>,
    /// How many items were at work when a limit was over, of this call or of one before, and were dropped.
    pub cut_short: u64,
}

impl<T: Send + 'static> BackgroundQueue<T> {
    pub(super) fn started(inner: Inner<T>, workers: usize, work: impl Work<T> + 'static) -> Self {
        let (inner, work) = (Arc::new(inner), Arc::new(work));
        for _ in 0..workers {
            inner.workers.spawn(work_on(inner.clone(), work.clone()));
        }
        inner.workers.close();
        Self(Arc::new(Handle(inner)))
    }

    /// The name that logs and metrics tell.
    pub fn name(&self) -> &str {
        &self.inner().name
    }

    /// Puts `item` behind all that waits. Where there is no room, what [`WhenFull`] says.
    ///
    /// Cancel-safe: dropped while it waits for room, it leaves nothing behind, and its place in the order of
    /// those who wait is lost.
    ///
    /// # Errors
    /// There is no room, or the queue was stopped. The item comes back.
    pub async fn push(&self, item: T) -> Result<Pushed<T>, NotPushed<T>> {
        let Some(room) = &self.inner().room else { return self.inner().put(item) };
        match room.acquire().await {
            Ok(place) => {
                place.forget();
                self.inner().put(item)
            }
            Err(_stopped) => Err(NotPushed::Stopped(item)),
        }
    }

    /// The same at once: where whoever pushes would wait, the item comes back.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn try_push(&self, item: T) -> Result<Pushed<T>, NotPushed<T>> {
        let inner = self.inner();
        if let Some(room) = &inner.room {
            match room.try_acquire() {
                Ok(place) => place.forget(),
                Err(tokio::sync::TryAcquireError::Closed) => return Err(NotPushed::Stopped(item)),
                Err(tokio::sync::TryAcquireError::NoPermits) => {
                    inner.counts.rejected();
                    return Err(NotPushed::Full(item));
                }
            }
        }
        inner.put(item)
    }

    /// How it does at this moment.
    pub fn figures(&self) -> BackgroundFigures {
        let inner = self.inner();
        let (depth, oldest) = {
            let shelf = inner.shelf.lock();
            (shelf.len(), shelf.oldest())
        };
        let oldest_age = oldest.map(|since| inner.clock.now().since(since));
        BackgroundFigures { depth, oldest_age, ..inner.counts.figures() }
    }

    /// Stops gracefully: takes nothing more, begins nothing more, lets what is at work finish within
    /// `limit`, and answers what was left. A second call has a limit of its own, and nothing is left for it.
    ///
    /// Work that does not come to an `.await` cannot be cut short: it is left behind with a warning, a second after
    /// the limit. Dropped, the queue is stopped nevertheless, and what was not begun is dropped.
    pub async fn stop(&self, limit: Duration) -> Stopped<T> {
        let inner = self.inner();
        let left = inner.close(Shelf::clear);
        let clock = &inner.clock;
        let in_time = clock.now().after(limit);
        if !inner.ends_before(in_time).await {
            inner.killed.cancel();
            if !inner.ends_before(clock.now().after(GRACE)).await {
                tracing::warn!(
                    queue = &*inner.name,
                    "work that never waits could not be cut short"
                );
            }
        }
        Stopped { left, cut_short: inner.counts.cut_short() }
    }

    /// Cuts short what is at work when it is dropped.
    pub(crate) fn cuts_short(&self) -> DropGuard {
        self.inner().killed.clone().drop_guard()
    }

    fn inner(&self) -> &Inner<T> {
        &self.0.0
    }
}

impl BackgroundQueue<()> {
    /// A queue with this name, to be started. Its items are what its work takes, or tasks.
    pub fn named(name: impl Into<String>) -> BackgroundQueueBuilder {
        BackgroundQueueBuilder::new(name.into())
    }
}

impl BackgroundQueue<Task> {
    /// Pushes an async closure, to be run once: [`push`](Self::push) of a [`Task`].
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn spawn<F, Fut>(&self, run: F) -> Result<Pushed<Task>, NotPushed<Task>>
    where
        F: FnOnce(Cancel) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.push(Task::new(run)).await
    }
}

/// What cutting work short may take.
const GRACE: Duration = Duration::from_secs(1);

impl<T> Inner<T> {
    pub(super) fn new(
        name: Arc<str>,
        capacity: usize,
        when_full: WhenFull,
        time_limit: Option<Duration>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            shelf: Mutex::new(Shelf::new(capacity, when_full)),
            room: (when_full == WhenFull::Wait).then(|| Semaphore::new(capacity)),
            arrived: Notify::new(),
            time_limit,
            clock,
            counts: Counts::of(&name),
            killed: CancellationToken::new(),
            workers: TaskTracker::new(),
            name,
        }
    }

    fn put(&self, item: T) -> Result<Pushed<T>, NotPushed<T>> {
        let put = self.shelf.lock().put(item, self.clock.now());
        let pushed = match put {
            Put::In => Pushed::In,
            Put::InPlaceOf(displaced) => {
                self.counts.displaced();
                Pushed::InPlaceOf(displaced)
            }
            Put::Full(item) => {
                self.counts.rejected();
                return Err(NotPushed::Full(item));
            }
            Put::Closed(item) => return Err(NotPushed::Stopped(item)),
        };
        self.arrived.notify_one();
        Ok(pushed)
    }

    /// The item at the head, as soon as there is one; nothing when there never will be.
    async fn next(&self) -> Option<T> {
        loop {
            // Before the look: what arrives after it is told.
            let arrived = self.arrived.notified();
            {
                let mut shelf = self.shelf.lock();
                if let Some(item) = shelf.take() {
                    let is_more = shelf.len() > 0;
                    drop(shelf);
                    if let Some(room) = &self.room {
                        room.add_permits(1);
                    }
                    // However many arrive while nobody listens, one is told.
                    if is_more {
                        self.arrived.notify_one();
                    }
                    return Some(item);
                }
                if shelf.is_closed() {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Takes nothing more; answers what `finally` makes of what waits.
    fn close<R>(&self, finally: impl FnOnce(&mut Shelf<T>) -> R) -> R {
        let answer = {
            let mut shelf = self.shelf.lock();
            shelf.close();
            finally(&mut shelf)
        };
        if let Some(room) = &self.room {
            room.close();
        }
        self.arrived.notify_waiters();
        answer
    }

    /// Whether all workers have ended by then.
    async fn ends_before(&self, moment: Timestamp) -> bool {
        tokio::select! {
            biased;
            () = self.workers.wait() => true,
            () = self.clock.sleep_until(moment) => false,
        }
    }
}

/// One worker: one item after the other. Nothing that an item does ends it.
async fn work_on<T: Send + 'static>(inner: Arc<Inner<T>>, work: Arc<impl Work<T> + 'static>) {
    while let Some(item) = inner.next().await {
        inner.counts.begins();
        let began = inner.clock.now();
        let ended = run(&*work, item, inner.time_limit, &*inner.clock, &inner.killed).await;
        inner.counts.ends(&ended, inner.clock.now().since(began));
        ended.tell(&inner.name);
        // Items that never wait must not keep a thread from everything else.
        consume_budget().await;
    }
}

impl<T: Send + 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        self.0.close(|_| ());
    }
}

impl<T: Send + 'static> Clone for BackgroundQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> fmt::Debug for BackgroundQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundQueue")
            .field("name", &self.inner().name)
            .field("figures", &self.figures())
            .finish()
    }
}

impl<T> NotPushed<T> {
    /// The item.
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::Stopped(item) => item,
        }
    }
}

impl<T> fmt::Display for NotPushed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "failed to push: the queue is full",
            Self::Stopped(_) => "failed to push: the queue was stopped",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for NotPushed<T> {}
