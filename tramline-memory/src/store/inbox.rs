//! Which messages endpoints have handled.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::store::{InboxKey, Refusal, Sighting};

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    rows: HashMap<Arc<InboxKey>, Seen>,
    /// Keys of each endpoint in the order in which they came, for pruning.
    order: HashMap<Arc<str>, VecDeque<(Timestamp, Arc<InboxKey>)>>,
}

#[derive(Debug)]
struct Seen {
    id: String,
    body_hash: i64,
}

impl Inbox {
    /// Why a message may not be handled, if it may not.
    pub(crate) fn refusal(&self, sighting: &Sighting) -> Option<Refusal> {
        let seen = self.rows.get(&sighting.key)?;
        Some(refusal(sighting, &seen.id, seen.body_hash))
    }

    /// Remembers a message that [`Inbox::refusal`] has nothing against.
    pub(crate) fn admit(&mut self, sighting: Sighting, now: Timestamp) {
        let key = Arc::new(sighting.key);
        let seen = Seen { id: sighting.id.to_string(), body_hash: sighting.body_hash };
        self.order.entry(key.endpoint.clone()).or_default().push_back((now, key.clone()));
        self.rows.insert(key, seen);
    }

    /// Forgets up to `limit` rows of `endpoint` that are older than `before`. Answers how many.
    pub(crate) fn prune(&mut self, endpoint: &str, before: Timestamp, limit: u32) -> u64 {
        let Some(order) = self.order.get_mut(endpoint) else { return 0 };
        let mut pruned = 0;
        while pruned < u64::from(limit)
            && let Some((_, key)) = order.pop_front_if(|(at, _)| *at < before)
        {
            self.rows.remove(&key);
            pruned += 1;
        }
        pruned
    }
}

/// What a message is to a row of the same key.
pub(super) fn refusal(sighting: &Sighting, id: &str, body_hash: i64) -> Refusal {
    if sighting.is_same(id, body_hash) { Refusal::Duplicate } else { Refusal::KeyReused }
}
