//! A transport or a store whose calls go wrong.

use super::call::Call;
use super::faults::Faults;
use crate::testing::simulation::Ledger;
use std::fmt;
use std::sync::Arc;
use tramline_core::{BoxFuture, Result};

/// A transport or a store whose calls go wrong as [`Faults`] say. Its transactions are those of
/// what it stands before: a handler that asks for `Tx<Memory>` gets one.
pub struct Faulty<T> {
    pub(super) inner: Arc<T>,
    pub(super) faults: Faults,
    pub(super) ledger: Ledger,
}

impl<T> Faulty<T> {
    pub(crate) fn new(inner: Arc<T>, faults: Faults, ledger: Ledger) -> Self {
        Self { inner, faults, ledger }
    }

    /// Carries out `effect`, or not, as it goes in `call`.
    pub(super) fn through<'a, U: Send + 'a>(
        &'a self,
        call: Call,
        effect: BoxFuture<'a, Result<U>>,
    ) -> BoxFuture<'a, Result<U>>
    where
        T: Send + Sync,
    {
        Box::pin(async move { self.faults.through(call, effect).await.heard() })
    }
}

impl<T> Clone for Faulty<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), faults: self.faults.clone(), ledger: self.ledger.clone() }
    }
}

impl<T> fmt::Debug for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.faults)
    }
}
