//! The hold on a row, from its delivery to its settlement.

use crate::receiver::Consumer;
use crate::state::Claim;
use std::sync::Arc;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::DatabaseId;

/// The hold on a row. It ends in exactly one of three ways: by a settlement, by a store's
/// transaction that took the ack, or by being dropped, which gives the row back.
///
/// A real broker would bound it by time and have it renewed; here whoever could stop renewing is
/// gone together with the broker. So only closing its handle and
/// [`crate::Memory::expire_leases`] end it from outside.
#[derive(Debug)]
pub(crate) struct Lease {
    consumer: Arc<Consumer>,
    claim: Claim,
    evictions: u64,
    is_held: bool,
}

impl Lease {
    pub(crate) fn new(consumer: Arc<Consumer>, claim: Claim, evictions: u64) -> Self {
        Self { consumer, claim, evictions, is_held: true }
    }

    pub(crate) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn database(&self) -> &DatabaseId {
        &self.consumer.shared.database
    }

    pub(crate) fn settle(mut self, how: Settlement) -> Settled {
        self.is_held = false;
        self.carry_out(how)
    }

    /// Whatever became of the row, it is no longer this lease's.
    pub(crate) fn forget(mut self) {
        self.is_held = false;
    }

    /// Ends when the lease is ended from outside. Cancel-safe.
    pub(crate) async fn lost(&self) {
        let mut seen = self.evictions;
        loop {
            seen = self.consumer.bell.evicted_since(seen).await;
            if !self.consumer.shared.change(|state| state.is_leased(&self.claim)) {
                return;
            }
        }
    }

    fn carry_out(&self, how: Settlement) -> Settled {
        let shared = &self.consumer.shared;
        shared.change(|state| state.settle(&self.claim, how, &*shared.options.clock))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_held {
            self.carry_out(Settlement::Return);
        }
        self.consumer.free_slot();
    }
}
