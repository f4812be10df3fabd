//! Tells when the last message was handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// The orders from 0 on, each of which is awaited once. Clones count together.
#[derive(Clone)]
pub(crate) struct Completion(Arc<Countdown>);

struct Countdown {
    came: Box<[AtomicBool]>,
    left: AtomicU64,
    again: AtomicU64,
    ended: Notify,
}

impl Completion {
    pub(crate) fn of(messages: u64) -> Self {
        Self(Arc::new(Countdown {
            came: (0..messages).map(|_| AtomicBool::new(false)).collect(),
            left: AtomicU64::new(messages),
            again: AtomicU64::new(0),
            ended: Notify::new(),
        }))
    }

    /// The order with this number was handled. Whether it had not been before: a broker may give a
    /// message twice, and the second time stands for no other message.
    pub(crate) fn count(&self, number: u64) -> bool {
        let Countdown { came, left, again, ended } = &*self.0;
        // None: from another run.
        let Some(came) = came.get(number as usize) else { return false };
        let is_first = !came.swap(true, Ordering::Relaxed);
        if !is_first {
            again.fetch_add(1, Ordering::Relaxed);
        } else if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            ended.notify_one();
        }
        is_first
    }

    /// Ends when all were handled. For one waiter.
    pub(crate) async fn wait(&self) {
        while self.left() > 0 {
            self.0.ended.notified().await;
        }
    }

    /// How many were not handled.
    pub(crate) fn left(&self) -> u64 {
        self.0.left.load(Ordering::Acquire)
    }

    /// How often a message was handled that had been handled before.
    pub(crate) fn again(&self) -> u64 {
        self.0.again.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_comes_twice_stands_for_no_other() {
        let completion = Completion::of(2);
        let comes = |number| completion.count(number);
        assert_eq!([comes(1), comes(1), comes(7)], [true, false, false]);
        assert_eq!((completion.left(), completion.again()), (1, 1));
        assert!(comes(0));
        assert!(!comes(0));
        assert_eq!((completion.left(), completion.again()), (0, 2));
        completion.wait().await;
    }
}
