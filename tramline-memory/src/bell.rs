//! Who is woken when something happens to a queue, and why no wake-up is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// What one queue's receivers and deliveries wait for.
///
/// A receiver registers first, looks into the queue second and sleeps third, so whatever is put
/// there after its look finds it registered. One ready message rings for one receiver; a woken
/// receiver that is dropped before it has looked hands its ring on, as [`Notify`] promises.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Something can be taken, or will be earlier than anyone expects.
    pub(crate) arrived: Notify,
    evicted: Notify,
    evictions: AtomicU64,
}

impl Bell {
    /// How often leases of this queue were ended from outside.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Acquire)
    }

    /// Counts an eviction; under the state's lock, so that deliveries are taken before or after.
    pub(crate) fn count_eviction(&self) {
        self.evictions.fetch_add(1, Ordering::Release);
    }

    /// Ends when there are more evictions than `seen`. Answers how many. Cancel-safe.
    pub(crate) async fn evicted_since(&self, seen: u64) -> u64 {
        // Rings for all are heard from the moment the future is made, before it is polled.
        let evicted = self.evicted.notified();
        if self.evictions() == seen {
            evicted.await;
        }
        self.evictions()
    }
}

/// Rings that were earned under the state's lock and are carried out after it.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    /// Most changes ring one bell, and nothing is allocated for that.
    first: Option<(Arc<Bell>, Ring)>,
    others: Vec<(Arc<Bell>, Ring)>,
    /// Rows were appended to the outbox.
    pub(crate) appended: bool,
    /// A schedule may be due earlier.
    pub(crate) scheduled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// So many messages became ready: one receiver for each.
    Ready(u32),
    /// A message became due earlier than every other: all receivers set their timers anew. A
    /// single one would not do, because it may be dropped after it has set its own.
    EarlierDue,
    /// Leases were ended from outside.
    Evicted,
}

impl Rings {
    pub(crate) fn add(&mut self, bell: &Arc<Bell>, ring: Ring) {
        let last = self.others.last_mut().or(self.first.as_mut());
        match (last, ring) {
            (Some((last, Ring::Ready(count))), Ring::Ready(more)) if Arc::ptr_eq(last, bell) => {
                *count += more;
            }
            (Some(_), ring) => self.others.push((bell.clone(), ring)),
            (None, ring) => self.first = Some((bell.clone(), ring)),
        }
    }

    pub(crate) fn ring(self, appended: &Notify) {
        for (bell, ring) in self.first.into_iter().chain(self.others) {
            match ring {
                Ring::Ready(count) => (0..count).for_each(|_| bell.arrived.notify_one()),
                Ring::EarlierDue => bell.arrived.notify_waiters(),
                Ring::Evicted => bell.evicted.notify_waiters(),
            }
        }
        if self.appended {
            appended.notify_one();
        }
    }
}
