//! Schedules inside of transactions.

use super::planning::{ScheduleName, When, cancellation, plan};
use crate::Failure;
use crate::handler::{FromContext, Requirements};
use crate::outbox;
use crate::pipeline::{Context, Page};
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;

/// Schedules and cancels in the transaction of a handler: both happen if and only if it is committed. For handlers
/// of single messages in transactional endpoints on the store that keeps the schedules; others are refused at
/// `start()`.
///
/// It is decided at commit, so there are no answers: a schedule under a name that was cancelled in the last 24 hours
/// does nothing, and a cancellation may come too late.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use tramline::{Failure, Message};
/// # #[derive(Serialize, Deserialize)] struct OrderPlaced { id: u64 }
/// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
/// # #[derive(Serialize, Deserialize)] struct OrderPaid { id: u64 }
/// # impl Message for OrderPaid { const NAME: &'static str = "orders.paid"; }
/// # #[derive(Serialize, Deserialize)] struct Remind { id: u64 }
/// # impl Message for Remind { const NAME: &'static str = "orders.remind"; }
/// use std::time::Duration;
/// use tramline::Planner;
///
/// async fn placed(order: OrderPlaced, planner: Planner) -> Result<(), Failure> {
///     let day = Duration::from_secs(24 * 60 * 60);
///     planner.schedule(format!("reminder:{}", order.id), day, &Remind { id: order.id })
/// }
///
/// async fn paid(order: OrderPaid, planner: Planner) -> Result<(), Failure> {
///     planner.cancel(&format!("reminder:{}", order.id))
/// }
/// ```
#[derive(Debug)]
pub struct Planner {
    scope: Scope,
    page: Page,
}

impl Planner {
    /// As [`Bus::schedule`](crate::Bus::schedule).
    ///
    /// # Errors
    /// A permanent failure: the message, its time or the name is refused, or the run has ended.
    pub fn schedule<'a>(
        &self,
        name: impl Into<ScheduleName>,
        when: impl Into<When>,
        event: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.page.plan(plan(&self.scope, name, when, event, Target::Subscribers)?)
    }

    /// As [`Bus::schedule_to`](crate::Bus::schedule_to).
    ///
    /// # Errors
    /// As [`schedule`](Self::schedule), and for a bad queue name.
    pub fn schedule_to<'a>(
        &self,
        queue: &str,
        name: impl Into<ScheduleName>,
        when: impl Into<When>,
        command: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        let target = Target::Queue(QueueName::new(queue).map_err(Failure::permanent)?);
        self.page.plan(plan(&self.scope, name, when, command, target)?)
    }

    /// As [`Bus::cancel`](crate::Bus::cancel).
    ///
    /// # Errors
    /// A permanent failure: the name is refused, or the run has ended.
    pub fn cancel(&self, name: &str) -> Result<(), Failure> {
        self.page.plan(cancellation(&self.scope, name)?)
    }
}

impl FromContext for Planner {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(Self { scope: outbox::scope(cx), page: cx.buffer.page() })
    }
    fn requires(requirements: &mut Requirements) {
        requirements.plans();
        requirements.single_message("Planner");
    }
}
