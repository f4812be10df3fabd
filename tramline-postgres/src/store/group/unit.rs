//! A unit of work that has come to its end, without a transaction of its own.

use crate::queue::{Legs, Routes};
use crate::send::{self, Step};
use crate::store::messages::Messages;
use crate::store::queued::Statement;
use std::collections::BTreeSet;
use tokio::sync::oneshot;
use tramline_core::store::{Change, CommitError, Committed, Condition, Plan};
use tramline_core::transport::Destination;

/// What is to be committed. It can be tried again: nothing of it changes.
pub(in crate::store) struct Work {
    pub(in crate::store) statements: Vec<Statement>,
    pub(in crate::store) conditions: Vec<Condition>,
    pub(in crate::store) messages: Messages,
}

/// What becomes of a unit.
pub(in crate::store) enum Reply {
    Ended(Result<Committed, CommitError>),
    /// It is not for a group: it wants a transaction of its own.
    Alone(Work),
}

/// A unit on its way, and who waits for it.
pub(super) struct Waiting {
    pub(super) work: Work,
    /// How often it was tried in vain.
    pub(super) tries: u32,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Work {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.conditions.is_empty() && self.messages.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        let statements = self.statements.iter().map(Statement::bytes);
        let plans = self.conditions.iter().map(|condition| match condition {
            Condition::Plan(Plan { change: Change::Put { outgoing, .. }, .. }) => {
                outgoing.envelope.body.len()
            }
            _ => 0,
        });
        statements.sum::<usize>() + self.messages.bytes() + plans.sum::<usize>()
    }

    /// Whether schedules are changed.
    pub(super) fn is_scheduling(&self) -> bool {
        self.conditions.iter().any(|one| !matches!(one, Condition::Ack(_) | Condition::Admit(_)))
    }

    /// Whether two calls may each refuse it: with others, the first to do so would be the only one that is heard.
    pub(super) fn is_refused_twice(&self) -> bool {
        let may_be =
            |one: &Condition| matches!(one, Condition::Due { .. } | Condition::Tick { .. });
        let is_delivered = |one: &Condition| matches!(one, Condition::Ack(_) | Condition::Admit(_));
        self.conditions.iter().any(may_be) && self.conditions.iter().any(is_delivered)
    }

    /// Where its messages go.
    pub(in crate::store) fn routed(&self, routes: &Routes) -> Vec<Option<Legs>> {
        let parcels = self.messages.for_queues().iter();
        parcels.map(|parcel| routes.legs(&parcel.to, &parcel.envelope)).collect()
    }

    /// Whether its messages can be written without asking anything of their queues.
    pub(super) fn is_plain(&self, routed: &[Option<Legs>]) -> bool {
        let plan = send::Plan::of(self.messages.for_queues(), routed);
        let is_in = |placed: &Option<_>| matches!(placed, Some(send::Placed::In(_)));
        matches!(&plan.steps[..], [] | [Step::Put(_)]) && plan.placed.iter().all(is_in)
    }

    /// The events that no queue has subscribed to.
    pub(in crate::store) fn unrouted(&self, routed: &[Option<Legs>]) -> BTreeSet<String> {
        let parcels = self.messages.for_queues().iter().zip(routed);
        let unrouted = parcels.filter(|(parcel, legs)| {
            // An answer that nobody waits for any more is no event without subscribers.
            let is_answer = matches!(parcel.to, Destination::Address(_));
            !is_answer && legs.as_ref().is_some_and(Vec::is_empty)
        });
        unrouted.map(|(parcel, _)| parcel.to.to_string()).collect()
    }
}

impl Waiting {
    pub(super) fn ended(self, ended: Result<Committed, CommitError>) {
        self.answer(Reply::Ended(ended));
    }

    /// Gives it back to whoever waits for it.
    pub(super) fn alone(self) {
        let Self { work, reply, .. } = self;
        // Whoever asked may have gone: then nothing of it is in.
        let _ = reply.send(Reply::Alone(work));
    }

    fn answer(self, reply: Reply) {
        // Whoever asked may have gone; then nobody wants the answer.
        let _ = self.reply.send(reply);
    }
}
