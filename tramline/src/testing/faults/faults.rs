//! The handle by which calls learn what goes wrong in them.

use super::call::{Call, Fault, LifeId, Site};
use super::draw::Rates;
use crate::testing::trace::{Trace, What};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use tramline_core::clock::{Clock, ManualClock};
use tramline_core::name::QueueName;
use tramline_core::{Error, ErrorKind, Result};

/// What goes wrong in one life of a simulated process.
#[derive(Clone)]
pub struct Faults {
    life: LifeId,
    happening: Arc<Mutex<Happening>>,
    clock: ManualClock,
}

/// What has happened in one run, in all lives of all processes.
pub(crate) struct Happening {
    pub(crate) source: Source,
    calls: BTreeMap<(LifeId, Call), u32>,
    pub(crate) faults: BTreeMap<Site, Fault>,
    pub(crate) trace: Trace,
    /// Lives that have ended by themselves.
    dying: BTreeSet<LifeId>,
    lose_leases: Arc<dyn Fn(&QueueName) + Send + Sync>,
}

/// Where faults come from.
pub(crate) enum Source {
    /// They are drawn.
    Drawn { seed: u64, rates: Rates },
    /// These, and no others.
    Listed(BTreeMap<Site, Fault>),
    /// There are none any more.
    Calm,
}

impl Happening {
    pub(crate) fn new(
        source: Source,
        trace: Trace,
        lose_leases: impl Fn(&QueueName) + Send + Sync + 'static,
    ) -> Self {
        let (calls, faults, dying) = Default::default();
        Self { source, calls, faults, trace, dying, lose_leases: Arc::new(lose_leases) }
    }

    fn draw(&mut self, life: LifeId, call: Call) -> Option<Fault> {
        let nth = self.calls.entry((life, call)).or_default();
        *nth += 1;
        let site = Site { life, call, nth: *nth };
        let fault = match &self.source {
            Source::Drawn { seed, rates } => rates.fault(*seed, site),
            Source::Listed(faults) => faults.get(&site).copied(),
            Source::Calm => None,
        };
        if let Some(fault) = fault {
            self.faults.insert(site, fault);
        }
        self.trace.add(life, What::Called { call, nth: site.nth, fault });
        fault
    }
}

/// How a call ended.
pub(crate) enum Answer<T> {
    Heard(T),
    /// Nothing has happened.
    Failed(Error),
    /// Nobody heard the answer: it has happened, or not.
    Lost(Error),
}

impl<T> Answer<Result<T>> {
    /// For contracts that tell no failure from a lost answer.
    pub(crate) fn heard(self) -> Result<T> {
        match self {
            Self::Heard(answer) => answer,
            Self::Failed(error) | Self::Lost(error) => Err(error),
        }
    }
}

impl Faults {
    pub(crate) fn new(life: LifeId, happening: Arc<Mutex<Happening>>, clock: ManualClock) -> Self {
        Self { life, happening, clock }
    }

    /// Calls something outside of the bus that the test fakes, such as a payment gateway: by the
    /// seed it fails before `effect`, is late, or loses its answer after `effect`. The process may
    /// die before it and behind it.
    ///
    /// Share a clone with handlers: `life.bus().state(life.faults())`.
    ///
    /// # Errors
    /// It failed, or its answer was lost: the caller does not know which.
    pub async fn call<T>(&self, name: &'static str, effect: impl Future<Output = T>) -> Result<T> {
        let call = Call::Outside(name);
        self.through(call, async { Ok(effect.await) }).await.heard()
    }

    /// The process dies here, as a crash of its program: nothing of it runs any more.
    pub async fn die(&self) {
        self.happening.lock().dying.insert(self.life);
        std::future::pending().await
    }

    /// Whether the process has died by itself.
    pub(crate) fn is_dying(&self) -> bool {
        self.happening.lock().dying.contains(&self.life)
    }

    /// Carries out `effect`, or not, as it goes in `call`.
    pub(crate) async fn through<T>(
        &self,
        call: Call,
        effect: impl Future<Output = T>,
    ) -> Answer<T> {
        let fault = self.draw(call);
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::Fail) => return Answer::Failed(failed(call)),
            Some(Fault::Astray) => return Answer::Lost(lost(call)),
            Some(Fault::Delay(late)) => {
                self.clock.sleep_until(self.clock.now().after(late)).await;
            }
            _ => {}
        }
        let answer = effect.await;
        tokio::task::yield_now().await;
        if fault == Some(Fault::Lose) { Answer::Lost(lost(call)) } else { Answer::Heard(answer) }
    }

    /// What goes wrong in the next `call`.
    pub(crate) fn draw(&self, call: Call) -> Option<Fault> {
        self.happening.lock().draw(self.life, call)
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Ends all leases on `queue`, whoever has them.
    pub(crate) fn lose_leases(&self, queue: &QueueName) {
        let lose_leases = self.happening.lock().lose_leases.clone();
        lose_leases(queue);
    }
}

pub(super) fn failed(call: Call) -> Error {
    Error::new(ErrorKind::Unavailable, format!("call `{}`: it fails in this test", call.name()))
}

pub(super) fn lost(call: Call) -> Error {
    let doing = format!("hear from `{}`: its answer is lost in this test", call.name());
    Error::new(ErrorKind::TimedOut, doing)
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults({})", self.life)
    }
}
