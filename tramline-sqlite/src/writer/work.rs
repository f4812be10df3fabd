//! What a job works with while its group's transaction is open.

use super::control::Control;
use super::guard::Guard;
use super::tokens::Tokens;
use crate::error::failed;
use crate::open::core::Shared;
use crate::queue::routes::{Queue, Routes};
use rusqlite::Connection;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::clock::Timestamp;

/// One run of one group's transaction.
pub(crate) struct Work<'w> {
    pub(crate) connection: &'w Connection,
    pub(crate) shared: &'w Shared,
    pub(crate) guard: &'w Guard,
    pub(crate) effects: RefCell<Effects>,
    pub(super) control: &'w Control,
    pub(super) tokens: &'w RefCell<Tokens>,
    pub(super) process: Cell<Option<i64>>,
    routes: RefCell<Arc<Routes>>,
}

/// What is to be done once the transaction is in.
#[derive(Default)]
pub(crate) struct Effects {
    /// Queues that have something new to take, or a new due time.
    pub(crate) woken: BTreeSet<i64>,
    /// This process has a new row.
    pub(crate) entered: Option<i64>,
    /// Free pages were given back.
    pub(crate) shrank: bool,
    /// Where events were published to that no queue has subscribed to.
    pub(crate) unrouted: BTreeSet<String>,
}

impl<'w> Work<'w> {
    pub(super) fn new(
        connection: &'w Connection,
        shared: &'w Shared,
        guard: &'w Guard,
        control: &'w Control,
        tokens: &'w RefCell<Tokens>,
    ) -> Self {
        Self {
            connection,
            shared,
            guard,
            effects: RefCell::default(),
            control,
            tokens,
            process: Cell::new(None),
            routes: RefCell::new(shared.routes.read().clone()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    /// Queues and subscriptions as this transaction sees them.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.borrow().clone()
    }

    /// The queue, if there is more to keep right in it than rows.
    pub(crate) fn particular(&self, queue: i64) -> Option<Arc<Queue>> {
        self.routes.borrow().particular(queue).cloned()
    }

    /// Reads queues and subscriptions again if anybody has declared anything since.
    fn refresh_routes(&self) -> rusqlite::Result<()> {
        match self.changed_routes()? {
            Some(version) => self.read_routes(version),
            None => Ok(()),
        }
    }

    /// The version of queues and subscriptions, if it is another than the one remembered.
    pub(super) fn changed_routes(&self) -> rusqlite::Result<Option<i64>> {
        let version = Routes::version(self.connection)?;
        Ok((self.routes.borrow().version != version).then_some(version))
    }

    pub(super) fn read_routes(&self, version: i64) -> rusqlite::Result<()> {
        let routes = Routes::load(self.connection, version, &self.shared.member)?;
        *self.routes.borrow_mut() = Arc::new(routes);
        Ok(())
    }

    /// Tells every process, this one included, that queues, subscriptions or consumers changed.
    pub(crate) fn touch_topology(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology'",
            )?
            .execute([])?;
        self.refresh_routes()
    }

    /// A number for a claim that was never used on this file.
    pub(crate) fn token(&self) -> Result<i64> {
        let token = self.tokens.borrow_mut().next(self.connection);
        token.map_err(|error| failed("take a token for a claim", error))
    }

    /// Wakes whoever reads `queue`, in any process, once the transaction is in.
    pub(crate) fn wake(&self, queue: i64) {
        self.effects.borrow_mut().woken.insert(queue);
    }

    /// Runs `f` in a savepoint: what it wrote stays only if it answers `Ok`.
    ///
    /// # Errors
    /// The outer error says that the savepoint itself could not be made, kept or undone.
    pub(crate) fn savepoint<T, E>(
        &self,
        f: impl FnOnce() -> Result<T, E>,
    ) -> rusqlite::Result<Result<T, E>> {
        self.control.savepoint(self.connection)?;
        let answer = f();
        match &answer {
            // SQLite has rolled everything back, the savepoint with it.
            _ if !self.is_open() => {}
            Ok(_) => self.control.release(self.connection)?,
            Err(_) => self.control.undo(self.connection)?,
        }
        Ok(answer)
    }

    /// Whether the transaction still stands: an interrupt, a full disk, an I/O error or an
    /// `ON CONFLICT ROLLBACK` ends it for all.
    pub(crate) fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    pub(super) fn into_parts(self) -> (Effects, Arc<Routes>) {
        (self.effects.into_inner(), self.routes.into_inner())
    }
}
