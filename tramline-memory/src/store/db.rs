//! What a closure of a transaction works with.

use super::tables::{Changes, Tables};
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::transport::Outgoing;
use tramline_core::{Failure, Message};

/// The database as one transaction sees it: what is stored, with its own changes upon it.
///
/// A closure runs while the whole [`crate::Memory`] waits for it. Keep it short, and call nothing
/// of the same memory in it but this.
#[derive(Debug)]
pub struct Db<'a> {
    tables: &'a Tables,
    changes: Changes,
    publisher: Option<Publisher<'a>>,
}

/// Collects what is published.
#[derive(Debug)]
struct Publisher<'a> {
    scope: &'a Scope,
    outgoing: Vec<Outgoing>,
}

impl<'a> Db<'a> {
    pub(super) fn new(tables: &'a Tables, scope: Option<&'a Scope>) -> Self {
        let publisher = scope.map(|scope| Publisher { scope, outgoing: Vec::new() });
        Self { tables, changes: Changes::default(), publisher }
    }

    /// What is to be done if the transaction commits: changes, and messages in their order.
    pub(super) fn into_parts(self) -> (Changes, Vec<Outgoing>) {
        let outgoing = self.publisher.map(|publisher| publisher.outgoing);
        (self.changes, outgoing.unwrap_or_default())
    }

    /// Stores `value` under `key` among values of its type, in place of any other.
    pub fn put<T: Clone + Send + Sync + 'static>(&mut self, key: impl Into<String>, value: T) {
        self.changes.set(key.into(), Some(value));
    }

    /// A copy of the value of this type under `key`.
    pub fn get<T: Clone + 'static>(&self, key: &str) -> Option<T> {
        self.changes.get(self.tables, key).cloned()
    }

    /// Takes the value of this type under `key` out. Answers what it was.
    pub fn remove<T: Clone + Send + Sync + 'static>(&mut self, key: &str) -> Option<T> {
        let removed = self.get(key);
        self.changes.set::<T>(key.to_owned(), None);
        removed
    }

    /// The keys of all values of this type, sorted.
    pub fn keys<T: 'static>(&self) -> Vec<String> {
        self.changes.table::<T>(self.tables).into_keys().map(str::to_owned).collect()
    }

    /// Key and value of all values of this type, sorted by key.
    pub fn entries<T: Clone + 'static>(&self) -> Vec<(String, T)> {
        let table = self.changes.table::<T>(self.tables).into_iter();
        table.map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    /// Publishes an event, if the transaction commits: `&message`, or a
    /// [`Draft`](tramline_core::draft::Draft) with options.
    ///
    /// # Errors
    /// A permanent failure: the message cannot be encoded, one of its options is not allowed, or
    /// this write belongs to no bus.
    pub fn publish<'m>(&mut self, draft: impl IntoDraft<'m>) -> Result<(), Failure> {
        self.add(draft, Target::Subscribers)
    }

    /// Sends a command to one queue, if the transaction commits.
    ///
    /// # Errors
    /// As for [`Db::publish`], and if `queue` is no name for a queue.
    pub fn send<'m>(&mut self, queue: &str, draft: impl IntoDraft<'m>) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        self.add(draft, Target::Queue(queue))
    }

    /// Publishes to an exchange of another broker, if the transaction commits. Where this memory is
    /// the transport, such a transaction is refused.
    ///
    /// # Errors
    /// As for [`Db::publish`].
    pub fn publish_to_exchange<'m>(
        &mut self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        draft: impl IntoDraft<'m>,
    ) -> Result<(), Failure> {
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        self.add(draft, Target::Foreign { exchange, routing_key })
    }

    fn add<'m, D: IntoDraft<'m>>(&mut self, draft: D, target: Target) -> Result<(), Failure> {
        let Some(Publisher { scope, outgoing }) = &mut self.publisher else {
            return Err(Failure::permanent(format!(
                "failed to publish {} in a write that belongs to no bus: \
                 use a handler's transaction, or `bus.store(&memory).write(…)`",
                D::Message::NAME
            )));
        };
        outgoing.push(scope.compose(draft, target)?);
        Ok(())
    }
}
