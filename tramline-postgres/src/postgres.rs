//! The handle on a database.

use crate::open::{Core, Session};
use crate::options::PostgresOptions;
use std::fmt;
use std::sync::Arc;
use tramline_core::Result;

/// A PostgreSQL database as a bus, as a store, or as both at once.
///
/// Clones are the same handle. A handle holds one connection each to send, to settle, to take, to commit, to
/// listen, to look after things, for the relay and for schedules, made when first needed; a store has those of
/// its handlers beside them.
#[derive(Clone)]
pub struct Postgres {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
}

impl Postgres {
    pub(crate) fn of(core: Arc<Core>) -> Self {
        Self { core, session: Arc::default() }
    }

    /// Opens the database that `url` names with the usual options:
    /// `postgres://user:password@host:5432/database`.
    ///
    /// # Errors
    /// As [`PostgresOptions::open`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::options(url).open().await
    }

    /// Options to open the database at `url` with.
    pub fn options(url: impl Into<String>) -> PostgresOptions {
        PostgresOptions::new(url.into())
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.core.target).finish()
    }
}
