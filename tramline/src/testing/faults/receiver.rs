//! Receiving that goes wrong.

use super::call::{Call, Fault};
use super::delivery::FaultyDelivery;
use super::faults::{Faults, failed};
use crate::testing::simulation::Ledger;
use futures_util::FutureExt;
use std::collections::VecDeque;
use tramline_core::Result;
use tramline_core::clock::Clock;
use tramline_core::name::QueueName;
use tramline_core::transport::{Delivery, Receiver};

/// How much is prefetched when a receiver is stopped.
const PREFETCHED_MAX: usize = 2;

/// The receiver of a [`Faulty`](super::Faulty) transport.
pub struct FaultyReceiver<R: Receiver> {
    inner: R,
    queue: QueueName,
    faults: Faults,
    ledger: Ledger,
    /// Taken already, and to be handed out later.
    ahead: VecDeque<R::Delivery>,
}

impl<R: Receiver> FaultyReceiver<R> {
    pub(super) fn new(inner: R, queue: QueueName, faults: &Faults, ledger: &Ledger) -> Self {
        let (faults, ledger) = (faults.clone(), ledger.clone());
        Self { inner, queue, faults, ledger, ahead: VecDeque::new() }
    }

    fn hand_out(&self, delivery: R::Delivery) -> Result<Option<FaultyDelivery<R::Delivery>>> {
        self.ledger.delivered(&self.queue, &delivery);
        Ok(Some(FaultyDelivery::new(delivery, &self.faults, &self.ledger)))
    }
}

impl<R: Receiver> Receiver for FaultyReceiver<R> {
    type Delivery = FaultyDelivery<R::Delivery>;

    /// Whatever was taken is kept if this is dropped: nothing waits between the two.
    async fn next(&mut self) -> Result<Option<Self::Delivery>> {
        if let Some(delivery) = self.ahead.pop_front() {
            return self.hand_out(delivery);
        }
        let fault = self.faults.draw(Call::Next);
        match fault {
            Some(Fault::Fail) => return Err(failed(Call::Next)),
            Some(Fault::Delay(late)) => {
                let clock = self.faults.clock();
                clock.sleep_until(clock.now().after(late)).await;
            }
            _ => {}
        }
        let Some(mut delivery) = self.inner.next().await? else { return Ok(None) };
        if fault == Some(Fault::Reorder)
            && let Some(Ok(Some(second))) = self.inner.next().now_or_never()
        {
            let (one, other) = (delivery.envelope().key.as_ref(), second.envelope().key.as_ref());
            // Those of one key come in order to a single receiver, whatever else happens.
            let is_swapped = one.is_none() || one != other;
            let later = if is_swapped { std::mem::replace(&mut delivery, second) } else { second };
            self.ahead.push_back(later);
        }
        if fault == Some(Fault::LoseLease) {
            self.faults.lose_leases(&self.queue);
        }
        self.hand_out(delivery)
    }

    /// Some of what is there counts as prefetched: it is still handed out, and must be returned.
    async fn stop(&mut self) -> Result<()> {
        while self.ahead.len() < PREFETCHED_MAX
            && let Some(Ok(Some(delivery))) = self.inner.next().now_or_never()
        {
            self.ahead.push_back(delivery);
        }
        self.faults.through(Call::Stop, self.inner.stop()).await.heard()
    }
}
