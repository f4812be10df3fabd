//! An open transaction that handlers borrow and give back.

use crate::Failure;
use parking_lot::Mutex;
use std::sync::Arc;
use tramline_core::erased::DynTx;

/// Somebody who has borrowed a transaction keeps it.
pub(crate) fn not_given_back() -> Failure {
    Failure::retryable("the transaction was not given back: `Tx` moved into a task that still runs")
}

/// The transaction of one run. Clones are the same loan.
#[derive(Clone)]
pub(crate) struct Loan(Arc<Mutex<Lent>>);

#[derive(Default)]
struct Lent {
    /// `None` while somebody works with it.
    tx: Option<DynTx>,
    borrowed: u64,
    /// Events whose handlers may still borrow it.
    at_work: usize,
    /// Why it must not be committed.
    spoilt: Option<String>,
}

impl Loan {
    pub(crate) fn of(tx: DynTx) -> Self {
        Self(Arc::new(Mutex::new(Lent { tx: Some(tx), ..Lent::default() })))
    }

    /// A loan of what somebody works with already.
    pub(crate) fn out() -> Self {
        Self(Arc::default())
    }

    /// The transaction, unless somebody works with it.
    pub(crate) fn borrow(&self) -> Option<DynTx> {
        let mut lent = self.0.lock();
        let tx = lent.tx.take();
        lent.borrowed += u64::from(tx.is_some());
        tx
    }

    pub(crate) fn give_back(&self, tx: DynTx) {
        self.0.lock().tx = Some(tx);
    }

    /// An event's handlers may borrow it from now on, until they are said to have succeeded. It must not be
    /// committed before.
    pub(crate) fn begin(&self, event: &'static str) -> EventAtWork {
        let mut lent = self.0.lock();
        lent.at_work += 1;
        EventAtWork { loan: self.clone(), event, borrowed: lent.borrowed, has_succeeded: false }
    }

    /// Whether it may be committed.
    ///
    /// # Errors
    /// It is spoilt, or an event is at work in it.
    pub(crate) fn sound(&self) -> Result<(), Failure> {
        let lent = self.0.lock();
        let why = match &lent.spoilt {
            Some(why) => why,
            None if lent.at_work > 0 => {
                "an event that was published in a task is still at work in the transaction"
            }
            None => return Ok(()),
        };
        Err(Failure::retryable(format!("failed to commit: {why}")))
    }
}

/// An event that is at work in a transaction. Dropped before its handlers have succeeded, it spoils the
/// transaction if any of them has borrowed it: half of that one's writes may be there.
pub(crate) struct EventAtWork {
    loan: Loan,
    event: &'static str,
    borrowed: u64,
    has_succeeded: bool,
}

impl EventAtWork {
    pub(crate) fn succeeded(mut self) {
        self.has_succeeded = true;
    }
}

impl Drop for EventAtWork {
    fn drop(&mut self) {
        let mut lent = self.loan.0.lock();
        lent.at_work -= 1;
        if !self.has_succeeded && lent.borrowed > self.borrowed {
            let event = self.event;
            let why = || {
                format!("a handler of the event {event} has failed, and its writes are among them")
            };
            lent.spoilt.get_or_insert_with(why);
        }
    }
}
