//! Named schedules, from outside of handlers.

use super::handle::Schedules;
use super::planning::{ScheduleName, When, cancellation, plan};
use crate::Failure;
use crate::bus::Bus;
use tramline_core::compose::Target;
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::store::{Plan, Planned};
use tramline_core::{Error, ErrorKind, Result};

/// How many schedules are written together.
const TOGETHER_MAX: usize = 1000;

/// What is answered to a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// It will fire, in the place of what there was under its name.
    Done,
    /// Nothing was scheduled: the name was cancelled in the last 24 hours. [`Anew`](super::Anew) schedules
    /// nevertheless.
    AlreadyCancelled,
}

/// What is answered to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It will not fire.
    Cancelled,
    /// It has fired, in the last 24 hours. If this overtook another one of its name, that will not fire: the name stays
    /// cancelled for 24 hours from now.
    TooLate,
    /// There is nothing under this name, or it fired longer ago. If this overtook its schedule, that will not fire:
    /// the name stays cancelled for 24 hours.
    NotYetKnown,
}

/// Named schedules: they need [`BusBuilder::schedules`](crate::BusBuilder::schedules).
impl Bus {
    /// Publishes an event at a moment or after a time, unless `name` is [cancelled](Self::cancel) or scheduled again
    /// until then: that replaces it.
    ///
    /// Ends when it is as durable as the store makes it. Not cancel-safe: dropped, it may be scheduled or not; doing
    /// it again does no harm until it fires. Behind its moment it leaves when a bus on this store runs.
    ///
    /// # Errors
    /// No store keeps schedules, or it failed; the message, its time or the name is refused.
    pub async fn schedule<'a>(
        &self,
        name: impl Into<ScheduleName>,
        when: impl Into<When>,
        event: impl IntoDraft<'a>,
    ) -> Result<Scheduled> {
        let plan = plan(self.scope(), name, when, event, Target::Subscribers);
        self.plan(plan).await.map(scheduled)
    }

    /// The same, sent to one queue.
    ///
    /// # Errors
    /// As [`schedule`](Self::schedule), and for a bad queue name. Whether there is such a queue shows when it fires.
    pub async fn schedule_to<'a>(
        &self,
        queue: &str,
        name: impl Into<ScheduleName>,
        when: impl Into<When>,
        command: impl IntoDraft<'a>,
    ) -> Result<Scheduled> {
        let target = QueueName::new(queue).map(Target::Queue).map_err(Failure::permanent);
        let plan = target.and_then(|target| plan(self.scope(), name, when, command, target));
        self.plan(plan).await.map(scheduled)
    }

    /// As [`schedule`](Self::schedule), many events, written a thousand at a time. An answer for each, in order.
    ///
    /// # Errors
    /// As [`schedule`](Self::schedule). If a message is refused, nothing is scheduled; if the store failed, those
    /// before it may be.
    pub async fn schedule_all<'a, N, W, D>(
        &self,
        events: impl IntoIterator<Item = (N, W, D)>,
    ) -> Result<Vec<Scheduled>>
    where
        N: Into<ScheduleName>,
        W: Into<When>,
        D: IntoDraft<'a>,
    {
        let plans = events.into_iter().map(|(name, when, event)| {
            plan(self.scope(), name, when, event, Target::Subscribers).map_err(refused)
        });
        let mut plans = plans.collect::<Result<Vec<Plan>>>()?.into_iter();
        let mut answers = Vec::with_capacity(plans.len());
        while plans.len() > 0 {
            let together = plans.by_ref().take(TOGETHER_MAX).collect();
            answers.extend(self.plans(together).await?.into_iter().map(scheduled));
        }
        Ok(answers)
    }

    /// Cancels the schedule `name`, also one that nobody has made yet: for 24 hours a
    /// [`schedule`](Self::schedule) under this name does nothing, so that a cancellation that overtakes it wins.
    ///
    /// Ends and is dropped as [`schedule`](Self::schedule).
    ///
    /// # Errors
    /// No store keeps schedules, or it failed; the name is refused.
    pub async fn cancel(&self, name: &str) -> Result<Cancelled> {
        let planned = self.plan(cancellation(self.scope(), name)).await?;
        Ok(match planned {
            Planned::TooLate => Cancelled::TooLate,
            Planned::NotYetKnown => Cancelled::NotYetKnown,
            _ => Cancelled::Cancelled,
        })
    }

    /// What is scheduled and what recurs: to list, to pause, to resume.
    ///
    /// # Errors
    /// No store keeps schedules.
    pub fn schedules(&self) -> Result<Schedules<'_>> {
        Ok(Schedules::of(self, self.keeper()?))
    }

    async fn plan(&self, plan: std::result::Result<Plan, Failure>) -> Result<Planned> {
        let planned = self.plans(vec![plan.map_err(refused)?]).await?;
        planned.into_iter().next().ok_or_else(|| Error::closed("the bus"))
    }

    /// Has the store carry out `plans`.
    pub(super) async fn plans(&self, plans: Vec<Plan>) -> Result<Vec<Planned>> {
        if let Some(error) = self.closed() {
            return Err(error);
        }
        self.inner().stopping.heard(self.keeper()?.plan(plans).await)
    }

    fn keeper(&self) -> Result<&dyn tramline_core::store::Schedules> {
        let store = self.inner().schedules.as_ref();
        store.and_then(|store| store.schedules_dyn()).ok_or_else(|| {
            let why = "no store of this bus keeps schedules: add `.schedules(&store)`";
            Error::new(ErrorKind::Misconfigured, "use schedules").because(why)
        })
    }
}

fn scheduled(planned: Planned) -> Scheduled {
    match planned {
        Planned::AlreadyCancelled => Scheduled::AlreadyCancelled,
        _ => Scheduled::Done,
    }
}

fn refused(failure: Failure) -> Error {
    Error::new(ErrorKind::Refused, "schedule a message").because(failure.to_string())
}
