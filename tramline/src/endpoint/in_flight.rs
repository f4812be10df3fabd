//! A duplicate in the same process waits for the one in flight.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tramline_core::store::InboxKey;

/// The keys at work in this endpoint and process.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<InboxKey, Arc<Notify>>>>);

/// Holds a key; dropped, it lets the next one in.
#[derive(Debug)]
pub(crate) struct Passage {
    keys: InFlight,
    key: InboxKey,
}

impl InFlight {
    /// Enters with `key`, after whoever is at work on it. Cancel-safe.
    pub(crate) async fn enter(&self, key: &InboxKey) -> Passage {
        loop {
            let busy = match self.try_enter(key) {
                Ok(passage) => return passage,
                Err(busy) => busy,
            };
            let left = busy.notified();
            tokio::pin!(left);
            // Registered before the second look, so that a leave in between is not missed.
            left.as_mut().enable();
            if self.0.lock().contains_key(key) {
                left.await;
            }
        }
    }

    /// Enters with `key`, or answers what tells when whoever is at work on it leaves.
    pub(crate) fn try_enter(&self, key: &InboxKey) -> Result<Passage, Arc<Notify>> {
        let mut keys = self.0.lock();
        match keys.get(key) {
            Some(busy) => Err(busy.clone()),
            None => {
                keys.insert(key.clone(), Arc::default());
                Ok(Passage { keys: self.clone(), key: key.clone() })
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
        let keys = InFlight::default();
        let first = keys.enter(&key("a")).await;
        let mut second = Box::pin(keys.enter(&key("a")));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(keys.enter(&key("b")).now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }
}
