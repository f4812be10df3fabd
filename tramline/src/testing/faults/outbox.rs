//! An outbox whose calls go wrong. What operators ask goes through untouched.

use super::call::Call;
use super::faulty::Faulty;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::store::{Outbox, OutboxRow, OutboxToken, ParkedRow, Store};
use tramline_core::{BoxFuture, Result};

impl<S: Store> Outbox for Faulty<S> {
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>>> {
        self.through(Call::Claim, self.inner.outbox().claim(limit, lease, now))
    }

    fn sent<'a>(&'a self, rows: &'a [OutboxToken]) -> BoxFuture<'a, Result<()>> {
        self.through(Call::Sent, self.inner.outbox().sent(rows))
    }

    fn postpone<'a>(
        &'a self,
        row: OutboxToken,
        until: Timestamp,
        error: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        self.through(Call::Postpone, self.inner.outbox().postpone(row, until, error))
    }

    fn give_back<'a>(
        &'a self,
        rows: &'a [OutboxToken],
        until: Timestamp,
    ) -> BoxFuture<'a, Result<()>> {
        self.through(Call::GiveBack, self.inner.outbox().give_back(rows, until))
    }

    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>> {
        self.through(Call::Park, self.inner.outbox().park(row, error))
    }

    fn parked(&self, after: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>> {
        self.inner.outbox().parked(after, limit)
    }

    fn release(&self) -> BoxFuture<'_, Result<u64>> {
        self.inner.outbox().release()
    }

    fn discard<'a>(&'a self, rows: &'a [i64]) -> BoxFuture<'a, Result<u64>> {
        self.inner.outbox().discard(rows)
    }

    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>> {
        self.inner.outbox().depth()
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.through(Call::NextDue, self.inner.outbox().next_due())
    }

    fn appended(&self) -> BoxFuture<'_, ()> {
        self.inner.outbox().appended()
    }
}
