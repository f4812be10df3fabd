//! What one run of a handler publishes, until it is known how the run ends.

use crate::Failure;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
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
pub(crate) struct Page(Arc<Mutex<Option<Vec<Outgoing>>>>);

impl Buffer {
    /// For somebody who is going to publish.
    pub(crate) fn page(&mut self) -> Page {
        match self {
            Self::Empty => {
                let page = Page(Arc::new(Mutex::new(Some(Vec::new()))));
                *self = Self::Open(page.clone());
                page
            }
            Self::Open(page) => page.clone(),
            Self::Closed => Page(Arc::default()),
        }
    }

    /// Ends the run: what it has published, and nothing more from now on.
    pub(crate) fn close(&mut self) -> Vec<Outgoing> {
        match std::mem::replace(self, Self::Closed) {
            Self::Open(Page(messages)) => messages.lock().take().unwrap_or_default(),
            Self::Empty | Self::Closed => Vec::new(),
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
            Some(messages) => {
                messages.push(outgoing);
                Ok(messages.len() - 1)
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
        if let Some(messages) = self.0.lock().as_mut().filter(|_| !places.is_empty()) {
            messages.retain(|_| !place.next().is_some_and(|place| places.contains(&place)));
        }
    }
}
