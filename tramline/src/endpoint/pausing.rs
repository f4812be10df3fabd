//! An endpoint's receiver and its circuit breaker: none while that is open, a narrow one while it tries.

use crate::breaker::{Admits, CircuitBreaker};
use crate::endpoint::lanes::Lanes;
use crate::stopping::Stopping;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::transport::{Delivery, Receiver, Source};

/// Lets messages through to a receiver's endpoint as long as the breaker is as it was when that was made.
pub(crate) struct Gate {
    breaker: CircuitBreaker,
    /// Made to try whether the dependency is back.
    is_narrow: bool,
}

impl Gate {
    /// For a receiver that takes all it may.
    pub(crate) fn of_all(breaker: CircuitBreaker) -> Self {
        Self { breaker, is_narrow: false }
    }

    /// Waits until the breaker lets anything through. Meanwhile what ends in a lane lets go of what is behind
    /// it: this goes back, in order, so that others may have it. `None` if the bus stops first.
    pub(crate) async fn reopen<D: Delivery>(
        &mut self,
        lanes: Option<&Arc<Lanes<D>>>,
        stopping: &Stopping,
    ) -> Option<()> {
        let passes = |admits| matches!(admits, Admits::All | Admits::Probe);
        loop {
            if let Some(lanes) = lanes {
                lanes.give_back_unbegun().await;
            }
            let changed = async {
                match lanes {
                    Some(lanes) => lanes.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopping.begun() => return None,
                () = self.breaker.until(passes) => break,
                () = changed => {}
            }
        }
        self.is_narrow = !self.breaker.is_closed();
        Some(())
    }

    /// Makes `source` one that takes no more than the breaker lets through.
    pub(crate) fn narrow(&self, source: &mut Source) {
        if self.is_narrow {
            let probes = self.breaker.probes().clamp(1, source.prefetch);
            (source.prefetch, source.prefetch_max) = (probes, probes);
        }
    }

    fn is_as_it_was(&self, admits: Admits) -> bool {
        match admits {
            Admits::All => !self.is_narrow,
            Admits::Probe | Admits::AfterAProbe => self.is_narrow,
            Admits::From(_) => false,
        }
    }
}

/// Ends when a receiver is to take nothing more; never without a breaker. Cancel-safe.
pub(crate) async fn shut(gate: &Option<Gate>) {
    match gate {
        Some(gate) => gate.breaker.until(|admits| !gate.is_as_it_was(admits)).await,
        None => std::future::pending().await,
    }
}

/// The next message, when the breaker lets it through: where that is another's turn, nothing is taken.
/// Cancel-safe.
pub(crate) async fn next<R: Receiver>(
    receiver: &mut R,
    gate: &Option<Gate>,
) -> Result<Option<R::Delivery>> {
    if let Some(gate) = gate {
        gate.breaker.until(|admits| matches!(admits, Admits::All | Admits::Probe)).await;
    }
    receiver.next().await
}
