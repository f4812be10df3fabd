//! Outgoing messages become rows, outside of the state's lock.

use crate::routes::{QueueNumber, Routes};
use crate::row::{Record, Row};
use crate::shared::Shared;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::{Envelope, Via};
use tramline_core::id::MessageId;
use tramline_core::name::QueueRef;
use tramline_core::transport::{CopyOf, Destination, Outgoing};
use tramline_core::{Error, Result};

/// A row that knows its queue.
pub(crate) struct Post {
    pub(crate) to: QueueNumber,
    pub(crate) row: Row,
    pub(crate) due: Option<Timestamp>,
}

/// Where messages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A sender: a message may come twice.
    Sender,
    /// A transaction of this memory: each message exists once.
    Transaction,
}

/// Collects posts, to be put into their queues all at once.
pub(crate) struct Posting<'a> {
    pub(crate) shared: &'a Shared,
    routes: Arc<Routes>,
    origin: Origin,
    now: Timestamp,
    posts: Vec<Post>,
}

impl<'a> Posting<'a> {
    pub(crate) fn new(shared: &'a Shared, origin: Origin) -> Self {
        Self { shared, routes: shared.routes(), origin, now: shared.now(), posts: Vec::new() }
    }

    /// Adds a copy of `outgoing` for each queue that gets it. Answers whether any does.
    pub(crate) fn add(&mut self, outgoing: &Outgoing) -> Result<bool> {
        let before = self.posts.len();
        match &outgoing.to {
            Destination::Queue(queue) => {
                self.check_dead(queue, outgoing.copy.as_ref())?;
                let to = self.routes.declared(queue)?;
                let row = self.row(outgoing, None);
                self.push(to, row, outgoing.due);
            }
            Destination::Topic { name, subject } => {
                let via = Via { topic: name.clone(), subject: subject.clone() };
                let row = self.row(outgoing, Some(via));
                let routes = self.routes.clone();
                for to in routes.subscribers(name, subject, &outgoing.envelope) {
                    self.push(to, row.clone(), outgoing.due);
                }
            }
            Destination::Foreign { .. } => {
                return Err(Error::unsupported("exchanges of others", "memory"));
            }
            Destination::Address(_) => return Err(Error::unsupported("reply addresses", "memory")),
        }
        Ok(self.posts.len() > before)
    }

    pub(crate) fn finish(self) -> Vec<Post> {
        self.posts
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

    fn push(&mut self, to: QueueNumber, row: Row, due: Option<Timestamp>) {
        let due = due.filter(|due| *due > self.now);
        self.posts.push(Post { to, row, due });
    }

    fn row(&self, outgoing: &Outgoing, via: Option<Via>) -> Row {
        let copy = outgoing.copy.as_ref();
        Row {
            envelope: self.envelope(&outgoing.envelope, via),
            record: copy.map_or_else(Record::default, |copy| Record::of_copy(copy, self.now)),
            deliveries: 0,
            born_here: self.origin == Origin::Transaction,
            since: self.now,
        }
    }

    /// The envelope as it was sent, except for what only the broker knows: the way it came, and an
    /// id where the sender gave none. It is copied only if it differs.
    fn envelope(&self, sent: &Arc<Envelope>, via: Option<Via>) -> Arc<Envelope> {
        if sent.id.is_some() && sent.via == via {
            return sent.clone();
        }
        let mut envelope = Envelope::clone(sent);
        envelope.via = via;
        let entropy = &self.shared.options.entropy;
        envelope.id.get_or_insert_with(|| MessageId::new(self.now, entropy.bits()));
        Arc::new(envelope)
    }
}
