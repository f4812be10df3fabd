//! Writes outside of handlers.

use super::db::Db;
use super::unit::{Unit, unconditional};
use crate::memory::Memory;
use crate::shared::Shared;
use std::sync::Arc;
use tramline_core::Failure;
use tramline_core::compose::Scope;
use tramline_core::store::CommitError;

/// What callers outside of handlers write and publish with: `bus.store(&memory)` answers one.
#[derive(Clone, Debug)]
pub struct MemoryWriter {
    shared: Arc<Shared>,
    scope: Scope,
}

impl MemoryWriter {
    pub(super) fn new(memory: &Memory, scope: Scope) -> Self {
        Self { shared: memory.shared.clone(), scope }
    }

    /// Runs `write` as a transaction: its changes and the messages that it publishes are all
    /// there when this returns `Ok`, else none of them. Never waits, so it is cancel-safe.
    ///
    /// # Errors
    /// [`CommitError::Handler`]: what `write` answered, its panic, or that a message goes to a
    /// queue that is not there.
    pub async fn write<T>(
        &self,
        write: impl Fn(&mut Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CommitError> {
        unconditional(&self.shared, Unit::of(&self.scope), write)
    }

    /// Looks at what is committed. Cancel-safe.
    pub async fn read<T>(&self, look: impl FnOnce(&Db<'_>) -> T) -> T {
        self.shared.read(look)
    }
}

/// The store alone, without a bus.
impl Memory {
    /// Runs `write` as a transaction: its changes are all there when this returns `Ok`, else none
    /// of them. It cannot publish; `bus.store(&memory).write(…)` can. Never waits, so it is
    /// cancel-safe.
    ///
    /// # Errors
    /// [`CommitError::Handler`]: what `write` answered, or its panic.
    pub async fn write<T>(
        &self,
        write: impl Fn(&mut Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CommitError> {
        unconditional(&self.shared, Unit::default(), write)
    }

    /// Looks at what is committed. Cancel-safe.
    pub async fn read<T>(&self, look: impl FnOnce(&Db<'_>) -> T) -> T {
        self.shared.read(look)
    }
}

impl Shared {
    pub(super) fn read<T>(&self, look: impl FnOnce(&Db<'_>) -> T) -> T {
        self.change(|state| look(&Db::new(&state.tables, None)))
    }
}
