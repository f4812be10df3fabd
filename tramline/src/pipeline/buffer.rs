//! What one run of a handler publishes, until it is known how the run ends.

use crate::Failure;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use tramline_core::store::Plan;
use tramline_core::transport::Outgoing;

/// The messages of one run.
#[derive(Debug, Default)]
pub(crate) enum Buffer {
    /// Nobody has asked for a page: most handlers publish nothing, and nothing is allocated for them.
    #[default]
    Empty,
    Open(Page),
    Closed,
}

/// Where a run's messages are put; `None` once it has ended. Clones are the same page.
#[derive(Clone, Debug)]
pub(crate) struct Page(Arc<Mutex<Option<Published>>>);

/// What a run leaves behind if it succeeds.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) messages: Vec<Outgoing>,
    /// What becomes of schedules; only in transactions.
    pub(crate) plans: Vec<Plan>,
}

impl Buffer {
    /// For somebody who is going to publish.
    pub(crate) fn page(&mut self) -> Page {
        match self {
            Self::Empty => {
                let page = Page(Arc::new(Mutex::new(Some(Published::default()))));
                *self = Self::Open(page.clone());
                page
            }
            Self::Open(page) => page.clone(),
            Self::Closed => Page(Arc::default()),
        }
    }

    /// Ends the run: what it has published, and nothing more from now on.
    pub(crate) fn close(&mut self) -> Vec<Outgoing> {
        self.close_with_plans().messages
    }

    /// The same where there is a transaction.
    pub(crate) fn close_with_plans(&mut self) -> Published {
        match std::mem::replace(self, Self::Closed) {
            Self::Open(Page(published)) => published.lock().take().unwrap_or_default(),
            Self::Empty | Self::Closed => Published::default(),
        }
    }

    /// A buffer for the next run; whoever still holds a page of the old one is refused.
    pub(crate) fn renew(&mut self) {
        self.close();
        *self = Self::Empty;
    }
}

impl Page {
    /// # Errors
    /// The run has ended: what came now would never leave.
    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), Failure> {
        self.place(outgoing).map(drop)
    }

    /// As [`push`](Self::push); answers at which place it stands.
    pub(crate) fn place(&self, outgoing: Outgoing) -> Result<usize, Failure> {
        match &mut *self.0.lock() {
            Some(published) => {
                published.messages.push(outgoing);
                Ok(published.messages.len() - 1)
            }
            None => {
                let text = format!("failed to publish to {}: the run has ended", outgoing.to);
                Err(Failure::permanent(text))
            }
        }
    }

    /// Throws away what stands at `places`; nobody looks by place after that.
    pub(crate) fn discard(&self, places: BTreeSet<usize>) {
        let mut place = 0..;
        if let Some(published) = self.0.lock().as_mut().filter(|_| !places.is_empty()) {
            published
                .messages
                .retain(|_| !place.next().is_some_and(|place| places.contains(&place)));
        }
    }

    /// # Errors
    /// The run has ended.
    pub(crate) fn plan(&self, plan: Plan) -> Result<(), Failure> {
        match &mut *self.0.lock() {
            Some(published) => published.plans.push(plan),
            None => {
                let text = format!("failed to plan the schedule {}: the run has ended", plan.name);
                return Err(Failure::permanent(text));
            }
        }
        Ok(())
    }
}
