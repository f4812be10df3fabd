//! The outbox: published inside a transaction, sent by a relay after it.

use crate::clock::Timestamp;
use crate::transport::Outgoing;
use crate::{BoxFuture, Result};
use std::time::Duration;

/// Messages that wait to be sent. Used as an object only.
///
/// Safe with many relays: a claimed row belongs to its claimer until its lease ends, and rows of a
/// key that is claimed elsewhere are skipped, so that order per key holds.
pub trait Outbox: Send + Sync {
    /// Takes up to `limit` rows that are due at `now`, in the order in which they were appended.
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>>>;

    /// These were sent: their rows go. A row whose lease was lost meanwhile is left alone.
    fn sent<'a>(&'a self, rows: &'a [OutboxToken]) -> BoxFuture<'a, Result<()>>;

    /// This one could not be sent: not before `until` again, nor anything behind it of its key.
    fn postpone<'a>(
        &'a self,
        row: OutboxToken,
        until: Timestamp,
        error: &'a str,
    ) -> BoxFuture<'a, Result<()>>;

    /// These were not tried, because of others before them: their leases end, and nothing is
    /// charged. Not before `until` again.
    fn give_back<'a>(
        &'a self,
        rows: &'a [OutboxToken],
        until: Timestamp,
    ) -> BoxFuture<'a, Result<()>>;

    /// This one failed too often: it waits for an operator.
    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Up to `limit` parked rows behind the row `after`, in the order in which they were appended.
    fn parked(&self, after: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>>;

    /// Lets parked rows try again. Answers how many.
    fn release(&self) -> BoxFuture<'_, Result<u64>>;

    /// Removes these rows, if they are parked: nobody will ever get their messages. Answers how
    /// many.
    fn discard<'a>(&'a self, rows: &'a [i64]) -> BoxFuture<'a, Result<u64>>;

    /// Rows that wait, and rows that are parked.
    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>>;

    /// The earliest moment at which a waiting row becomes due, if there is any row.
    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>>;

    /// Whether others append to it in transactions of their own, so that it wants a relay even where
    /// the store's own messages go straight into queues of the same database.
    fn is_shared(&self) -> bool {
        false
    }

    /// Ends when rows were appended since the last call, at once if they were. Cancel-safe.
    fn appended(&self) -> BoxFuture<'_, ()>;
}

/// A claimed row.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Names row and lease.
    pub token: OutboxToken,
    /// What to send.
    pub outgoing: Outgoing,
    /// How often sending it failed.
    pub attempts: u32,
}

/// A row that waits for an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct ParkedRow {
    /// Where it stands.
    pub row: i64,
    /// What was to be sent; `None` if the row cannot be read.
    pub outgoing: Option<Outgoing>,
    /// How often sending it failed.
    pub attempts: u32,
    /// Why it failed last.
    pub error: String,
}

/// Names a claimed row and its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutboxToken {
    /// The row.
    pub row: i64,
    /// The lease.
    pub lease: i64,
}
