//! What a store's tests must be able to do beside the contract.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tramline_core::draft::Draft;
use tramline_core::name::QueueName;
use tramline_core::store::Store;
use tramline_core::transport::Transport;
use tramline_core::{Failure, Message};

/// A database to ask, and what scenarios let a handler write to it.
///
/// A transaction's type is the driver's own, so the harness translates: scenarios say what to
/// write as a [`Write`], and look at one table of numbers by name.
pub trait StoreHarness: Send + Sync + 'static {
    /// The driver.
    type Store: Store;
    /// The transport that can share its database. A store without one names any transport.
    type Transport: Transport;

    /// A database with nothing in it but what the harness needs, shared with no other test.
    fn fresh(&self) -> impl Future<Output = Self::Store> + Send;

    /// The database behind `first` as another process sees it.
    fn other(&self, first: &Self::Store) -> impl Future<Output = Self::Store> + Send;

    /// The transport on the same database; `None` where there is none.
    fn transport(
        &self,
        store: &Self::Store,
    ) -> impl Future<Output = Option<Self::Transport>> + Send;

    /// Ends the process behind `store` without closing it, and opens the database again. `None`
    /// where nothing is meant to survive that.
    fn restart(&self, store: Self::Store) -> impl Future<Output = Option<Self::Store>> + Send;

    /// Does what `write` says inside `tx`, or queues it there, as the store's handlers do.
    ///
    /// # Errors
    /// The write failed at once. Stores that write later answer that at the commit.
    fn write(
        &self,
        tx: &mut <Self::Store as Store>::Tx,
        write: Write,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The number called `name`, as a committed transaction left it; `None` if there is none.
    fn read(&self, store: &Self::Store, name: &str) -> impl Future<Output = Option<i64>> + Send;

    /// How long a scenario waits for what must come; see
    /// [`TransportHarness::patience`](crate::TransportHarness::patience).
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// One thing that a handler does inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the number called `name`.
    Put {
        /// Its name.
        name: String,
        /// Its value.
        value: i64,
    },
    /// Reads the number called `name`, 0 if there is none, and writes it back `by` larger.
    Add {
        /// Its name.
        name: String,
        /// By how much.
        by: i64,
    },
    /// Publishes [`Note::draft`] to its subscribers.
    Publish(Note),
    /// Sends [`Note::draft`] to a queue.
    Send(QueueName, Note),
    /// Fails with [`Failure::permanent`] of this text.
    Fail(String),
    /// Panics, in the closure where the store has closures; else fails.
    Panic,
}

/// The message that transactions publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What tells it from others.
    pub text: String,
    /// The key that keeps it in order.
    #[serde(skip)]
    pub key: Option<String>,
}

impl Message for Note {
    const NAME: &'static str = "conformance.noted";
}

impl Note {
    /// A note without a key.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), key: None }
    }

    /// A note that is kept in order with others of the same key.
    pub fn keyed(text: impl Into<String>, key: impl Into<String>) -> Self {
        Self { text: text.into(), key: Some(key.into()) }
    }

    /// The note with its options, as stores publish it.
    pub fn draft(&self) -> Draft<'_, Self> {
        let draft = Draft::of(self);
        match &self.key {
            Some(key) => draft.key(key.as_str()),
            None => draft,
        }
    }
}
