//! Where an event was published, and what its handlers have from there.

use super::events::Core;
use crate::pipeline::{Context, Incoming, Loan, Page, Surroundings};
use std::sync::Arc;

/// What a context knows of the event at work.
#[derive(Clone)]
pub(crate) struct Raised {
    pub(super) core: Arc<Core>,
    /// A message's handler has caused it: then that message is the context's.
    pub(crate) by_message: bool,
    /// How many events have caused each other before it.
    pub(super) depth: u32,
}

/// A handler that publishes events: of a message, or of another event.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) raised: Raised,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) message: Incoming,
    /// The caller's transaction, if it has one.
    pub(super) loan: Option<Loan>,
    pub(super) page: Page,
}

impl Caller {
    /// The handler at work in `cx`; `None` if no events are declared.
    pub(super) fn of(cx: &mut Context) -> Option<Self> {
        let raised = match &cx.event {
            Some(raised) => Raised { depth: raised.depth + 1, ..raised.clone() },
            None => {
                let core = cx.surroundings.events.clone()?;
                Raised { core, by_message: true, depth: 0 }
            }
        };
        Some(Self {
            raised,
            surroundings: cx.surroundings.clone(),
            message: cx.message.clone(),
            loan: cx.tx.clone(),
            page: cx.buffer.page(),
        })
    }
}
