//! A duplicate in the same process waits for the one in flight.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tramline_core::store::InboxKey;

/// The keys at work in this endpoint and process.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<InboxKey, Arc<Notify>>>>);

/// Holds a key; dropped, it lets the next one in.
#[derive(Debug)]
pub(crate) struct Passage {
    keys: InFlight,
    key: InboxKey,
    has_waited: bool,
}

impl Passage {
    /// Whether somebody else was at work on the key before: the inbox may know it by now.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl InFlight {
    /// Enters with `key`, after whoever is at work on it. Cancel-safe.
    pub(crate) async fn enter(&self, key: &InboxKey) -> Passage {
        let mut has_waited = false;
        loop {
            match self.try_enter(key) {
                Ok(mut passage) => {
                    passage.has_waited = has_waited;
                    return passage;
                }
                Err(left) => left.await,
            }
            has_waited = true;
        }
    }

    /// Enters with `key`, or answers what ends when whoever is at work on it leaves.
    ///
    /// That is made under the lock, and such a future hears every ring from then on, polled or
    /// not: no leave in between is missed, nor taken for that of a later holder of the key.
    pub(crate) fn try_enter(&self, key: &InboxKey) -> Result<Passage, OwnedNotified> {
        let mut keys = self.0.lock();
        match keys.get(key) {
            Some(busy) => Err(busy.clone().notified_owned()),
            None => {
                keys.insert(key.clone(), Arc::default());
                Ok(Passage { keys: self.clone(), key: key.clone(), has_waited: false })
            }
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let left = self.keys.0.lock().remove(&self.key);
        if let Some(left) = left {
            left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn key(key: &str) -> InboxKey {
        InboxKey { endpoint: "payment".into(), message: "m".to_owned(), key: key.to_owned() }
    }

    #[tokio::test]
    async fn the_second_of_a_key_waits_for_the_first_and_other_keys_do_not() {
        let (keys, a, b) = (InFlight::default(), key("a"), key("b"));
        let first = keys.enter(&a).await;
        assert!(!first.has_waited());
        let mut second = Box::pin(keys.enter(&a));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(keys.enter(&b).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some_and(|passage| passage.has_waited()));
    }

    #[tokio::test]
    async fn a_leave_is_heard_even_if_the_next_has_entered_before_the_wait_began() {
        let (keys, a) = (InFlight::default(), key("a"));
        let first = keys.try_enter(&a).unwrap();
        let left = keys.try_enter(&a).unwrap_err();
        drop(first);
        let _next = keys.try_enter(&a).unwrap();
        assert!(left.now_or_never().is_some(), "it would wait for the wrong holder");
    }

    #[tokio::test]
    async fn whoever_is_dropped_while_it_waits_holds_up_nobody() {
        let (keys, a) = (InFlight::default(), key("a"));
        let first = keys.enter(&a).await;
        let mut dropped = Box::pin(keys.enter(&a));
        let mut waiting = Box::pin(keys.enter(&a));
        assert!(dropped.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        drop(dropped);
        assert!(waiting.now_or_never().is_some());
    }
}
