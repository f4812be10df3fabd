//! Sends a scenario's messages, as an application's clients do: again, until they are confirmed.

use crate::publish::Receipt;
use crate::testing::faults::LifeId;
use crate::testing::trace::{Trace, What};
use crate::{Bus, MessageId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, ManualClock};
use tramline_core::{BoxFuture, Result};

/// One message to be sent.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) send: Box<Send>,
}

type Send =
    dyn for<'a> Fn(&'a Bus, MessageId) -> BoxFuture<'a, Confirmed> + std::marker::Send + Sync;

/// The bus's answer.
pub(crate) type Confirmed = Result<Receipt>;

/// The messages of a run, and how many of them are confirmed; outlives the processes.
#[derive(Clone)]
pub(crate) struct Client {
    jobs: Arc<Vec<(MessageId, Job)>>,
    confirmed: Arc<Mutex<usize>>,
    clock: ManualClock,
}

/// How long it waits before it sends again.
const PAUSE: Duration = Duration::from_millis(500);

impl Client {
    pub(crate) fn new(jobs: Vec<(MessageId, Job)>, clock: ManualClock) -> Self {
        Self { jobs: Arc::new(jobs), confirmed: Arc::default(), clock }
    }

    pub(crate) fn is_done(&self) -> bool {
        *self.confirmed.lock() == self.jobs.len()
    }

    /// Sends what is not confirmed yet.
    pub(crate) async fn run(self, bus: Bus, life: LifeId, trace: Trace) {
        loop {
            let next = *self.confirmed.lock();
            let Some((id, job)) = self.jobs.get(next) else { return };
            let message = || format!("{} {id}", job.name);
            match (job.send)(&bus, id.clone()).await {
                Ok(_) => {
                    *self.confirmed.lock() = next + 1;
                    trace.add(life, What::Confirmed(message()));
                }
                Err(_) => {
                    trace.add(life, What::Unconfirmed(message()));
                    self.clock.sleep_until(self.clock.now().after(PAUSE)).await;
                }
            }
        }
    }
}
