//! A runtime that runs its tasks poll by poll, and says when none can run.

use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokio::runtime::Runtime;

/// Tasks on a runtime of their own. Dropped, it drops each where it waits.
pub(super) struct Turns {
    runtime: Runtime,
    sentinel: Arc<Mutex<Sentinel>>,
    /// Polls since the sentinel was woken.
    since: u64,
}

/// A task that does nothing. Tasks run in the order in which they were woken, so those that could
/// run when it was woken have run when it does; if it is the first, there are none.
#[derive(Default)]
struct Sentinel {
    waker: Option<Waker>,
    has_run: bool,
}

impl Turns {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            // After each poll of a task the driver has its turn, and who was woken from outside
            // comes first.
            .event_interval(1)
            .global_queue_interval(1)
            .build()
            .unwrap_or_else(|error| panic!("failed to build a runtime: {error}"));
        let sentinel: Arc<Mutex<Sentinel>> = Arc::default();
        let watched = sentinel.clone();
        runtime.spawn(std::future::poll_fn(move |cx| -> Poll<()> {
            *watched.lock() = Sentinel { waker: Some(cx.waker().clone()), has_run: true };
            Poll::Pending
        }));
        // Its first poll says nothing: tasks that are spawned later stand behind it.
        Self { runtime, sentinel, since: 1 }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Polls up to `polls` tasks, fewer if no more can run or it `is_over`. Answers how many it
    /// polled.
    pub(super) fn run(&mut self, polls: u64, is_over: impl Fn() -> bool) -> u64 {
        let (sentinel, since, mut polled) = (&self.sentinel, &mut self.since, 0);
        let turn = std::future::poll_fn(|cx| {
            let mut sentinel = sentinel.lock();
            if std::mem::take(&mut sentinel.has_run) {
                let is_alone = *since == 1;
                (*since, polled) = (0, polled.max(1) - 1);
                sentinel.waker.iter().for_each(Waker::wake_by_ref);
                if is_alone {
                    return Poll::Ready(());
                }
            }
            if polled == polls || is_over() {
                return Poll::Ready(());
            }
            (*since, polled) = (*since + 1, polled + 1);
            // The runtime polls one task, and then this again.
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        self.runtime.block_on(pin!(turn));
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Notify;

    #[test]
    fn tasks_are_polled_as_often_as_was_said_and_not_once_more() {
        let mut turns = Turns::new();
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        turns.spawn(async move {
            loop {
                *counted.lock() += 1;
                tokio::task::yield_now().await;
            }
        });
        for polls in [1, 3, 10] {
            let before = *count.lock();
            assert_eq!(turns.run(polls, || false), polls);
            assert_eq!(*count.lock() - before, polls);
        }
    }

    #[test]
    fn a_turn_ends_when_no_task_can_run_and_goes_on_when_one_is_woken_from_outside() {
        let mut turns = Turns::new();
        let (bell, rung) = (Arc::new(Notify::new()), Arc::new(Mutex::new(0)));
        for _ in 0..3 {
            let (bell, rung) = (bell.clone(), rung.clone());
            turns.spawn(async move {
                bell.notified().await;
                *rung.lock() += 1;
            });
        }
        assert_eq!(turns.run(100, || false), 3);
        assert_eq!(turns.run(100, || false), 0, "nobody was woken");
        bell.notify_waiters();
        assert_eq!((turns.run(100, || false), *rung.lock()), (3, 3));
        assert_eq!(turns.run(100, || false), 0);
    }
}
