//! Outgoing messages become rows, outside of the state's lock.

use crate::routes::{QueueNumber, Routes};
use crate::row::{Record, Row};
use crate::shared::Shared;
use crate::window::Known;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::{Envelope, Text, Via};
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::transport::{CopyOf, Destination, Outgoing};
use tramline_core::{Error, Result};

/// A row that knows its queue.
pub(crate) struct Post {
    pub(crate) to: QueueNumber,
    pub(crate) row: Row,
    pub(crate) due: Option<Timestamp>,
    /// A copy of what was delivered passes any limit.
    pub(crate) is_copy: bool,
    /// What its queue remembers it by; decided at its admission.
    pub(crate) known: Option<Known>,
}

/// Topic and subject.
type Way<'a> = (&'a TopicName, &'a Text);

/// Where messages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A sender: a message may come twice.
    Sender,
    /// A transaction of this memory: each message exists once.
    Transaction,
}

/// Makes rows of what is declared at one moment.
pub(crate) struct Posting<'a> {
    pub(crate) shared: &'a Shared,
    routes: Arc<Routes>,
    origin: Origin,
    now: Timestamp,
}

impl<'a> Posting<'a> {
    pub(crate) fn new(shared: &'a Shared, origin: Origin) -> Self {
        Self { shared, routes: shared.routes(), origin, now: shared.now() }
    }

    /// A copy of `outgoing` for each queue that gets it.
    pub(crate) fn copies(&self, outgoing: &Outgoing) -> Result<Vec<Post>> {
        match &outgoing.to {
            Destination::Queue(queue) => {
                self.check_dead(queue, outgoing.copy.as_ref())?;
                let to = self.routes.declared(queue)?;
                Ok(vec![self.post(to, self.row(outgoing, None), outgoing)])
            }
            Destination::Topic { name, subject } => {
                let row = self.row(outgoing, Some((name, subject)));
                let subscribers = self.routes.subscribers(name, subject, &outgoing.envelope);
                Ok(subscribers.map(|to| self.post(to, row.clone(), outgoing)).collect())
            }
            Destination::Address(address) => {
                // Who waited there may be gone.
                let to = self.routes.number(&QueueRef::Main(QueueName::foreign(address)));
                let post = |to| self.post(to, self.row(outgoing, None), outgoing);
                Ok(to.map(post).into_iter().collect())
            }
            to @ Destination::Foreign { .. } => Err(Error::unsupported(&to.to_string(), "memory")),
        }
    }

    /// Where dead letters are native, only a dead letter may be sent to them.
    fn check_dead(&self, queue: &QueueRef, copy: Option<&CopyOf>) -> Result<()> {
        let native = self.shared.options.dead_letter.is_native();
        let is_letter = matches!(copy, Some(CopyOf::DeadLetter { .. }));
        match queue {
            QueueRef::Dead(_) if native && !is_letter => {
                Err(Error::unsupported(&format!("{queue} as a queue of its own"), "memory"))
            }
            _ => Ok(()),
        }
    }

    fn post(&self, to: QueueNumber, row: Row, outgoing: &Outgoing) -> Post {
        let due = outgoing.due.filter(|due| *due > self.now);
        Post { to, row, due, is_copy: outgoing.copy.is_some(), known: None }
    }

    fn row(&self, outgoing: &Outgoing, via: Option<Way<'_>>) -> Row {
        let copy = outgoing.copy.as_ref();
        let record = copy.map_or_else(Record::default, |copy| Record::of_copy(copy, self.now));
        let envelope = self.envelope(&outgoing.envelope, via);
        let born_here = self.origin == Origin::Transaction;
        Row { born_here, ..Row::new(envelope, record, self.now) }
    }

    /// The envelope as it was sent, except for what only the broker knows: the way it came, and an
    /// id where the sender gave none. It is copied only if it differs.
    fn envelope(&self, sent: &Arc<Envelope>, via: Option<Way<'_>>) -> Arc<Envelope> {
        if sent.id.is_some() && sent.via.as_ref().map(|via| (&via.topic, &via.subject)) == via {
            return sent.clone();
        }
        let mut envelope = Envelope::clone(sent);
        envelope.via =
            via.map(|(topic, subject)| Via { topic: topic.clone(), subject: subject.clone() });
        let entropy = &self.shared.options.entropy;
        envelope.id.get_or_insert_with(|| MessageId::new(self.now, entropy.bits()));
        Arc::new(envelope)
    }
}
