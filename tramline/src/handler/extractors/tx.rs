//! The open transaction, on loan to a handler.

use crate::Failure;
use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::{Context, Loan};
use std::ops::{Deref, DerefMut};
use tramline_core::store::Store;

/// The transaction of a transactional endpoint, on the store `S`. Dropping it hands it back, not
/// away: the engine commits when the handler has succeeded.
///
/// Moved into a task that outlives the handler, it is missed at commit, and that is a failure.
pub struct Tx<S: Store> {
    tx: Option<Box<S::Tx>>,
    loan: Loan,
}

impl<S: Store> FromContext for Tx<S> {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        let store = std::any::type_name::<S>();
        let Some(loan) = cx.tx.clone() else {
            let text = format!("no transaction of {store}: make the endpoint `.transactional()`");
            return Err(Failure::permanent(text));
        };
        let Some(tx) = loan.lock().take() else {
            return Err(Failure::permanent("a handler can ask for one transaction only"));
        };
        match tx.downcast::<S::Tx>() {
            Ok(tx) => Ok(Self { tx: Some(tx), loan }),
            Err(_) => {
                let text = format!("the endpoint's transaction is not one of {store}");
                Err(Failure::permanent(text))
            }
        }
    }
    fn requires(requirements: &mut Requirements) {
        requirements.transaction::<S::Tx>(std::any::type_name::<S>());
    }
}

impl<S: Store> Deref for Tx<S> {
    type Target = S::Tx;

    fn deref(&self) -> &S::Tx {
        self.tx.as_deref().expect("only `drop` takes it")
    }
}

impl<S: Store> DerefMut for Tx<S> {
    fn deref_mut(&mut self) -> &mut S::Tx {
        self.tx.as_deref_mut().expect("only `drop` takes it")
    }
}

impl<S: Store> Drop for Tx<S> {
    fn drop(&mut self) {
        if let Some(tx) = self.tx.take() {
            *self.loan.lock() = Some(tx);
        }
    }
}
