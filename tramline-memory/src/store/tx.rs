//! A handler's transaction.

use super::db::Db;
use crate::memory::Memory;
use crate::shared::Shared;
use parking_lot::Mutex;
use std::{fmt, sync::Arc};
use tramline_core::Failure;
use tramline_core::compose::Scope;

/// One queued write.
pub(super) type Write = Box<dyn Fn(&mut Db<'_>) -> Result<(), Failure> + Send>;

/// A handler's unit of work on a [`Memory`]. Nothing is done before its commit; dropped
/// uncommitted, it leaves nothing behind.
pub struct MemoryTx {
    shared: Arc<Shared>,
    pub(super) scope: Scope,
    pub(super) writes: Mutex<Vec<Write>>,
}

impl MemoryTx {
    pub(super) fn new(memory: &Memory, scope: Scope) -> Self {
        Self { shared: memory.shared.clone(), scope, writes: Mutex::default() }
    }

    /// Queues a write. After the handler has succeeded, all of its writes run in their order,
    /// together with the ack: all of them count, or none.
    ///
    /// A handler sees no result of its writes: decide inside the closure. A failure that the
    /// closure answers, or its panic, becomes the handler's.
    ///
    /// # Errors
    /// None here; other stores answer a failure once the transaction is over.
    pub fn write(
        &self,
        write: impl Fn(&mut Db<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        self.writes.lock().push(Box::new(write));
        Ok(())
    }

    /// Looks at what is committed; queued writes are not. Cancel-safe.
    pub async fn read<T>(&self, look: impl FnOnce(&Db<'_>) -> T) -> T {
        self.shared.read(look)
    }
}

impl fmt::Debug for MemoryTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx").field("scope", &self.scope).finish_non_exhaustive()
    }
}
