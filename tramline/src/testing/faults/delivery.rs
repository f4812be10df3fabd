//! Settlements that go wrong.

use super::call::Call;
use super::faults::Faults;
use crate::testing::simulation::Ledger;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::dead::FailureNote;
use tramline_core::envelope::Envelope;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Ticket};

/// A delivery of a [`Faulty`](super::Faulty) transport.
pub struct FaultyDelivery<D> {
    inner: D,
    faults: Faults,
    ledger: Ledger,
}

impl<D: Delivery> FaultyDelivery<D> {
    pub(super) fn new(inner: D, faults: &Faults, ledger: &Ledger) -> Self {
        Self { inner, faults: faults.clone(), ledger: ledger.clone() }
    }
}

impl<D: Delivery> Delivery for FaultyDelivery<D> {
    fn envelope(&self) -> &Arc<Envelope> {
        self.inner.envelope()
    }

    fn failures(&self) -> u32 {
        self.inner.failures()
    }

    fn deliveries(&self) -> Option<u32> {
        self.inner.deliveries()
    }

    fn history(&self) -> &[FailureNote] {
        self.inner.history()
    }

    fn marks(&self) -> Marks {
        self.inner.marks()
    }

    fn ticket(&self) -> Option<Ticket> {
        self.inner.ticket()
    }

    async fn mark_trial(&mut self) -> Result<()> {
        self.faults.through(Call::MarkTrial, self.inner.mark_trial()).await.heard()
    }

    async fn lost(&self) {
        self.inner.lost().await;
    }

    /// What fails before its effect is dropped: the message comes back.
    async fn settle(self, how: Settlement) -> Result<Settled> {
        let Self { inner, faults, ledger } = self;
        let effect = async {
            let ticket = inner.ticket();
            let settled = inner.settle(how).await?;
            if settled == Settled::Done {
                ledger.settled(ticket.as_ref());
            }
            Ok(settled)
        };
        faults.through(Call::Settle, effect).await.heard()
    }

    fn settled_by_store(self) {
        self.inner.settled_by_store();
    }
}
