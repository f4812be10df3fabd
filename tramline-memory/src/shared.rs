//! What all handles on one memory share, and the one way to change it.

use crate::memory::Handle;
use crate::options::MemoryOptions;
use crate::routes::Routes;
use crate::state::State;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, watch};
use tramline_core::clock::Timestamp;
use tramline_core::store::DatabaseId;
use tramline_core::transport::Outgoing;

pub(crate) struct Shared {
    pub(crate) database: DatabaseId,
    pub(crate) options: MemoryOptions,
    handles_ever: AtomicU64,
    /// Rung when rows were appended to the outbox.
    pub(crate) appended: Notify,
    /// How often a schedule may have become due earlier.
    pub(crate) scheduled: watch::Sender<u64>,
    /// Replaced as a whole, so that filters are evaluated on a snapshot and outside of any lock.
    /// Taken before the state's lock, never under it.
    routes: RwLock<Arc<Routes>>,
    /// One lock for all queues and tables is what makes a transaction atomic. It is held for map
    /// operations, and for the closures of transactions.
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(options: MemoryOptions) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State::new(options.manner()));
        Self {
            database: DatabaseId::new(format!("memory:{number}")),
            options,
            handles_ever: AtomicU64::new(0),
            appended: Notify::new(),
            scheduled: watch::Sender::new(0),
            routes: RwLock::default(),
            state,
        }
    }

    pub(crate) fn new_handle(&self) -> Handle {
        Handle(self.handles_ever.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// Tells the watcher, if there is one.
    pub(crate) fn accepted<'a>(&self, accepted: impl IntoIterator<Item = &'a Outgoing>) {
        if let Some(watcher) = &self.options.watcher {
            accepted.into_iter().for_each(|outgoing| watcher(outgoing));
        }
    }

    /// What is declared at this moment.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.read().clone()
    }

    /// Changes what is declared; one at a time.
    pub(crate) fn declare<T>(&self, change: impl FnOnce(&mut Routes, &mut State) -> T) -> T {
        let mut routes = self.routes.write();
        let mut state = self.state.lock();
        change(Arc::make_mut(&mut routes), &mut state)
    }

    /// Works on the state under its lock, and then, outside of it, wakes whoever has something to
    /// do now.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (answer, rings) = {
            let mut state = self.state.lock();
            let answer = work(&mut state);
            (answer, std::mem::take(&mut state.rings))
        };
        if rings.scheduled {
            self.scheduled.send_modify(|changes| *changes += 1);
        }
        rings.ring(&self.appended);
        answer
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.database.fmt(f)
    }
}
