//! Sends a scenario's messages, and does what its operators do, as they would: again, until it is
//! confirmed.

use crate::publish::Receipt;
use crate::testing::faults::LifeId;
use crate::testing::trace::{Trace, What};
use crate::{Bus, MessageId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, ManualClock};
use tramline_core::{BoxFuture, Result};

/// One thing to be done.
pub(crate) enum Job {
    /// A message of this name is to be sent.
    Send { name: &'static str, send: Box<Send> },
    /// An operator does what is called this.
    Act { name: &'static str, act: Box<Act> },
}

type Send =
    dyn for<'a> Fn(&'a Bus, MessageId) -> BoxFuture<'a, Confirmed> + std::marker::Send + Sync;

type Act = dyn Fn(Bus) -> BoxFuture<'static, Result<()>> + std::marker::Send + Sync;

/// The bus's answer.
pub(crate) type Confirmed = Result<Receipt>;

/// What is to be done in a run, and how much of it is confirmed; outlives the processes.
#[derive(Clone)]
pub(crate) struct Client {
    jobs: Arc<Vec<(MessageId, Job)>>,
    confirmed: Arc<Mutex<usize>>,
    clock: ManualClock,
}

/// How long it waits before it tries again.
const PAUSE: Duration = Duration::from_millis(500);

impl Client {
    pub(crate) fn new(jobs: Vec<(MessageId, Job)>, clock: ManualClock) -> Self {
        Self { jobs: Arc::new(jobs), confirmed: Arc::default(), clock }
    }

    pub(crate) fn is_done(&self) -> bool {
        *self.confirmed.lock() == self.jobs.len()
    }

    /// Does what is not confirmed yet.
    pub(crate) async fn run(self, bus: Bus, life: LifeId, trace: Trace) {
        loop {
            let next = *self.confirmed.lock();
            let Some((id, job)) = self.jobs.get(next) else { return };
            let (is_done, what) = match job {
                Job::Send { name, send } => {
                    let is_sent = send(&bus, id.clone()).await.is_ok();
                    let message = format!("{name} {id}");
                    let what = if is_sent { What::Confirmed } else { What::Unconfirmed };
                    (is_sent, what(message))
                }
                Job::Act { name, act } => match act(bus.clone()).await {
                    Ok(()) => (true, What::Acted(name)),
                    Err(error) => (false, What::FailsToAct(name, error.to_string())),
                },
            };
            if is_done {
                *self.confirmed.lock() = next + 1;
            }
            trace.add(life, what);
            if !is_done {
                self.clock.sleep_until(self.clock.now().after(PAUSE)).await;
            }
        }
    }
}
