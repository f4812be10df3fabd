//! An open transaction that handlers borrow and give back.

use crate::Failure;
use parking_lot::Mutex;
use std::sync::Arc;
use tramline_core::erased::DynTx;

/// The transaction of one run. Clones are the same loan.
#[derive(Clone)]
pub(crate) struct Loan(Arc<Mutex<Lent>>);

struct Lent {
    /// `None` while somebody works with it.
    tx: Option<DynTx>,
    /// Why it must not be committed.
    spoilt: Option<String>,
}

impl Loan {
    pub(crate) fn of(tx: DynTx) -> Self {
        Self(Arc::new(Mutex::new(Lent { tx: Some(tx), spoilt: None })))
    }

    /// A loan of what somebody works with already.
    pub(crate) fn out() -> Self {
        Self(Arc::new(Mutex::new(Lent { tx: None, spoilt: None })))
    }

    /// The transaction, unless somebody works with it.
    pub(crate) fn borrow(&self) -> Option<DynTx> {
        self.0.lock().tx.take()
    }

    pub(crate) fn give_back(&self, tx: DynTx) {
        self.0.lock().tx = Some(tx);
    }

    /// It holds writes of somebody who has failed, and is not to be committed.
    pub(crate) fn spoil(&self, why: impl Into<String>) {
        self.0.lock().spoilt.get_or_insert(why.into());
    }

    /// Whether it may be committed.
    ///
    /// # Errors
    /// It is spoilt.
    pub(crate) fn sound(&self) -> Result<(), Failure> {
        let why = self.0.lock().spoilt.clone();
        why.map_or(Ok(()), |why| {
            Err(Failure::retryable(format!(
                "failed to commit: {why}, and its writes are among them"
            )))
        })
    }
}
