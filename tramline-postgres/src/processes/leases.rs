//! What this process has taken and not settled.

use crate::deliver::Lease;
use crate::open::Session;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// The claims of this process.
#[derive(Default)]
pub(crate) struct Leases {
    taken: Mutex<HashMap<i64, Weak<Lease>>>,
    /// Those that the server has not answered yet.
    asked: Mutex<HashSet<i64>>,
}

/// A claim that is under way, until it is dropped.
pub(crate) struct Asked<'l> {
    leases: &'l Leases,
    pub(crate) token: i64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.leases.asked.lock().remove(&self.token);
    }
}

impl Leases {
    /// A claim of this name is about to be made.
    pub(crate) fn asks(&self, token: i64) -> Asked<'_> {
        self.asked.lock().insert(token);
        Asked { leases: self, token }
    }

    /// Whether a claim is under way, or anybody here holds something of it.
    pub(crate) fn knows(&self, token: i64) -> bool {
        // In this order: what is answered in between is among the second.
        let is_asked = self.asked.lock().contains(&token);
        let taken = self.taken.lock().get(&token).and_then(Weak::upgrade);
        is_asked || taken.is_some_and(|lease| lease.is_held())
    }

    /// Remembers a claim, for as long as anybody holds something of it.
    pub(crate) fn took(&self, lease: &Arc<Lease>) {
        let mut leases = self.taken.lock();
        if leases.len() == leases.capacity() {
            leases.retain(|_, lease| lease.strong_count() > 0);
        }
        leases.insert(lease.token, Arc::downgrade(lease));
    }

    /// The names of the claims of which something is held.
    pub(crate) fn tokens(&self) -> Vec<i64> {
        let held = self.held();
        held.iter().map(|lease| lease.token).collect()
    }

    /// These claims are no more.
    pub(crate) fn lose(&self, tokens: &[i64]) {
        let held = self.held();
        held.iter().filter(|lease| tokens.contains(&lease.token)).for_each(|lease| lease.lose());
    }

    /// Nothing is known to be ours any more.
    pub(crate) fn lose_all(&self) {
        self.held().iter().for_each(|lease| lease.lose());
    }

    /// The claims that came from this opening of the database.
    pub(crate) fn of(&self, session: &Arc<Session>) -> Vec<i64> {
        let held = self.held();
        held.iter().filter(|lease| lease.is_of(session)).map(|lease| lease.token).collect()
    }

    fn held(&self) -> Vec<Arc<Lease>> {
        let leases = self.taken.lock();
        leases.values().filter_map(Weak::upgrade).filter(|lease| lease.is_held()).collect()
    }
}
