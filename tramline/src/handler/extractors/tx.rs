//! The open transaction, on loan to a handler.

use crate::Failure;
use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::{Context, Loan, Page, not_given_back};
use std::ops::{Deref, DerefMut};
use tramline_core::store::Store;

/// The transaction of a transactional endpoint, on the store `S`. Dropping it hands it back, not
/// away: the engine commits when the handler has succeeded.
///
/// Moved into a task that outlives the handler, it is missed at commit, and that is a failure.
pub struct Tx<S: Store> {
    tx: Option<Box<S::Tx>>,
    loan: Loan,
    /// Where those who borrow it publish, if it is not a handler's.
    page: Option<Page>,
}

impl<S: Store> Tx<S> {
    /// A transaction outside of handlers.
    pub(crate) fn of(tx: S::Tx, page: Page) -> Self {
        Self { tx: Some(Box::new(tx)), loan: Loan::out(), page: Some(page) }
    }

    /// Ends it: what is to be committed.
    ///
    /// # Errors
    /// It is spoilt, or still out.
    pub(crate) fn close(mut self) -> Result<S::Tx, Failure> {
        self.loan.sound()?;
        self.tx.take().map(|tx| *tx).ok_or_else(not_given_back)
    }

    pub(crate) fn page(&self) -> Option<&Page> {
        self.page.as_ref()
    }

    /// Lends it on to others. What is answered is the loan that they borrow from; it is over when that
    /// is dropped.
    pub(crate) fn lend(&mut self) -> OnLoan<'_, S> {
        if let Some(tx) = self.tx.take() {
            self.loan.give_back(tx);
        }
        OnLoan(self)
    }
}

/// A transaction that its holder has lent on, and has again when this is dropped.
pub(crate) struct OnLoan<'a, S: Store>(&'a mut Tx<S>);

impl<S: Store> OnLoan<'_, S> {
    pub(crate) fn loan(&self) -> &Loan {
        &self.0.loan
    }

    /// Takes it back.
    ///
    /// # Errors
    /// One who borrowed it has not given it back.
    pub(crate) fn end(self) -> Result<(), Failure> {
        let tx = self.0.loan.borrow().ok_or_else(not_given_back)?;
        self.0.loan.give_back(tx);
        Ok(())
    }
}

impl<S: Store> Drop for OnLoan<'_, S> {
    fn drop(&mut self) {
        self.0.tx = self.0.loan.borrow().and_then(|tx| tx.downcast().ok());
    }
}

impl<S: Store> FromContext for Tx<S> {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        let store = std::any::type_name::<S>();
        let Some(loan) = cx.tx.clone() else {
            let text = format!("no transaction of {store}: make the endpoint `.transactional()`");
            return Err(Failure::permanent(text));
        };
        let Some(tx) = loan.borrow() else {
            let text = if cx.event.is_some() {
                "the transaction is held by who has published the event: \
                 `events.publish_in(&mut tx, …)` lends it to the event's handlers"
            } else {
                "a handler can ask for one transaction only"
            };
            return Err(Failure::permanent(text));
        };
        match tx.downcast::<S::Tx>() {
            Ok(tx) => Ok(Self { tx: Some(tx), loan, page: None }),
            Err(tx) => {
                loan.give_back(tx);
                let text = format!("the transaction at hand is not one of {store}");
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
        self.tx.as_deref().expect("a transaction that is lent was not given back")
    }
}

impl<S: Store> DerefMut for Tx<S> {
    fn deref_mut(&mut self) -> &mut S::Tx {
        self.tx.as_deref_mut().expect("a transaction that is lent was not given back")
    }
}

impl<S: Store> Drop for Tx<S> {
    fn drop(&mut self) {
        if let Some(tx) = self.tx.take() {
            self.loan.give_back(tx);
        }
    }
}
