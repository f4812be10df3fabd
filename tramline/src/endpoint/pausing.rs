//! An endpoint's receiver and its circuit breaker: none while that is open, a narrow one while it tries.

use crate::breaker::{Admits, CircuitBreaker, Seat};
use crate::endpoint::lanes::Lanes;
use crate::endpoint::metered::Metered;
use crate::endpoint::placed::Placed;
use crate::stopping::Stopping;
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::Clock;
use tramline_core::transport::{Delivery, Receiver, Source};

/// For how long a receiver may sit where nothing comes, before another has its turn; twice as long each time, up to
/// the second, so that at night no channels come and go all the time.
const IDLE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(16)];

/// Lets messages through to a receiver's endpoint as long as the breaker is as it was when that was made.
pub(crate) struct Gate {
    breaker: CircuitBreaker,
    clock: Arc<dyn Clock>,
    /// Made to try whether the dependency is back.
    is_narrow: bool,
    /// One for each message that a narrow one may take now; those of messages at work are with these.
    seats: Mutex<Vec<Seat>>,
    /// How often in a row it has sat in vain.
    in_vain: AtomicU32,
}

impl Gate {
    /// For a receiver that takes all it may.
    pub(crate) fn of_all(breaker: CircuitBreaker, clock: Arc<dyn Clock>) -> Self {
        let (seats, in_vain) = (Mutex::default(), AtomicU32::new(0));
        Self { breaker, clock, is_narrow: false, seats, in_vain }
    }

    pub(crate) fn is_narrow(&self) -> bool {
        self.is_narrow
    }

    /// Whether the breaker lets everything through, as far as anybody has looked.
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Waits until the breaker lets anything through, and, while it tries, for seats: at most as many as
    /// `can_take` answers, which ends when anything can be taken. Who could not take must not sit: what a broker
    /// sends him would only go back. Meanwhile what ends in a lane lets go of what is behind it: this goes back, in
    /// order, so that others may have it. `None` if the bus stops first.
    pub(crate) async fn reopen<D: Delivery>(
        &mut self,
        can_take: impl Future<Output = u32>,
        lanes: Option<&Arc<Lanes<D>>>,
        stopping: &Stopping,
    ) -> Option<()> {
        self.seats.get_mut().clear();
        let seats = {
            let mut entered = pin!(async { self.enter(can_take.await).await });
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
                    seats = &mut entered => break seats,
                    () = changed => {}
                }
            }
        };
        self.is_narrow = seats.is_some();
        *self.seats.get_mut() = seats.unwrap_or_default();
        Some(())
    }

    /// `None` for everything, else its seats.
    async fn enter(&self, most: u32) -> Option<Vec<Seat>> {
        let breaker = &self.breaker;
        loop {
            breaker.until(|admits| !matches!(admits, Admits::From(_))).await;
            if breaker.is_closed() {
                return None;
            }
            let has_turned = |admits| matches!(admits, Admits::All | Admits::From(_));
            let seat = tokio::select! {
                biased;
                () = breaker.until(has_turned) => continue,
                seat = breaker.seats().take() => seat,
            };
            let more = std::iter::from_fn(|| breaker.seats().try_take());
            return Some(seat.into_iter().chain(more).take(most.max(1) as usize).collect());
        }
    }

    /// Makes `source` one that takes no more than the breaker lets through.
    pub(crate) fn narrow(&self, source: &mut Source) {
        if self.is_narrow {
            let seats = u32::try_from(self.seats.lock().len()).unwrap_or(u32::MAX).max(1);
            (source.prefetch, source.prefetch_max) = (seats, seats);
        }
    }

    fn is_as_it_was(&self, admits: Admits) -> bool {
        match admits {
            Admits::All => !self.is_narrow,
            Admits::Probe | Admits::AfterAProbe => self.is_narrow,
            Admits::From(_) => false,
        }
    }

    /// Ends when the next message may be taken. Cancel-safe.
    async fn may_take(&self) {
        let has_seat = !self.seats.lock().is_empty();
        if !has_seat {
            let seat = self.breaker.seats().take().await;
            self.seats.lock().extend(seat);
        }
        self.breaker.until(|admits| matches!(admits, Admits::All | Admits::Probe)).await;
    }

    /// Gives what was taken its place as a probe. It has none if a call outside of endpoints was faster: then it is
    /// kept from running.
    fn admit<D: Delivery>(&self, delivery: Placed<D>) -> Placed<D> {
        match self.breaker.begin() {
            Some(permit) => {
                self.in_vain.store(0, Relaxed);
                delivery.with_permit(permit.with_seat(self.seats.lock().pop()))
            }
            None => delivery,
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

/// Ends when a narrow receiver has sat in vain while others wait for a seat. Cancel-safe.
pub(crate) async fn in_vain(gate: &Option<Gate>) {
    let Some(gate) = gate.as_ref().filter(|gate| gate.is_narrow) else {
        return std::future::pending().await;
    };
    loop {
        gate.breaker.seats().awaited().await;
        let [first, longest] = IDLE;
        let times = 1_u32.checked_shl(gate.in_vain.load(Relaxed)).unwrap_or(u32::MAX);
        let idle = first.saturating_mul(times).min(longest);
        gate.clock.sleep_at_most_until(gate.clock.now().after(idle)).await;
        let sits = !gate.seats.lock().is_empty();
        if sits && gate.breaker.seats().are_awaited() {
            gate.in_vain.fetch_add(1, Relaxed);
            return;
        }
    }
}

/// The next message, when the breaker lets it through: where that is another's turn, nothing is taken.
/// Cancel-safe.
pub(crate) async fn next<R: Receiver>(
    receiver: &mut Metered<R>,
    gate: &Option<Gate>,
) -> Result<Option<Placed<R::Delivery>>> {
    let Some(gate) = gate.as_ref().filter(|gate| gate.is_narrow) else {
        return receiver.next().await;
    };
    // Before it asks for a seat, where it could not take anything.
    receiver.paced().await;
    gate.may_take().await;
    Ok(receiver.next().await?.map(|delivery| gate.admit(delivery)))
}
