//! A memory as a store that is watched, and that answers commits as it is told.

use super::transport::outdated;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tramline::Memory;
use tramline::core::clock::Timestamp;
use tramline::core::compose::Scope;
use tramline::core::store::{
    CommitError, Committed, Condition, DatabaseId, Outbox, OutboxRow, OutboxToken, ParkedRow,
    Refusal, Schedules, Sighting, Store,
};
use tramline::core::transport::Outgoing;
use tramline::core::{BoxFuture, Error, ErrorKind, Result};
use tramline::memory::store::{MemoryTx, MemoryWriter};

#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) memory: Memory,
    keeps_schedules: bool,
    /// Transactions that are open at this moment.
    pub(crate) open: Arc<AtomicUsize>,
    /// What commits answer, in order; beyond them what the memory says.
    pub(crate) commits: Arc<Mutex<VecDeque<Commit>>>,
    /// So many claims of the outbox fail.
    pub(crate) failing_claims: Arc<AtomicUsize>,
    pub(crate) claims: Arc<AtomicUsize>,
    /// So many removals of rows that were sent fail.
    pub(crate) failing_removals: Arc<AtomicUsize>,
    /// Whatever writes is refused, because a newer program was here.
    pub(crate) is_outdated: Arc<AtomicBool>,
    /// Who asks the inbox is refused, because a newer program was here.
    pub(crate) inbox_is_outdated: Arc<AtomicBool>,
    /// Wound while the outbox is asked when something is due, as if the database took so long.
    pub(crate) slow_due: Arc<Mutex<Option<(tramline::core::clock::ManualClock, Duration)>>>,
}

/// How a commit goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Commit {
    /// Not at all, with this refusal for the first condition.
    Refuse(Refusal),
    /// Not at all, and without saying which condition it was.
    RefuseNothing,
    /// It goes through, and the answer is lost.
    DoneUnknown,
    /// It does not go through, and the answer is lost.
    LostUnknown,
    /// The store fails.
    Fail,
    /// It is too much for the store.
    TooLarge,
    /// The store cannot be reached.
    Away,
    /// It goes through, and the answer never comes.
    DoneAndHang,
    /// It never begins.
    Hang,
}

impl Watched {
    pub(crate) fn on(memory: Memory) -> Self {
        Self {
            memory,
            keeps_schedules: false,
            open: Arc::default(),
            commits: Arc::default(),
            failing_claims: Arc::default(),
            claims: Arc::default(),
            failing_removals: Arc::default(),
            is_outdated: Arc::default(),
            inbox_is_outdated: Arc::default(),
            slow_due: Arc::default(),
        }
    }

    pub(crate) fn keeping_schedules(memory: Memory) -> Self {
        Self { keeps_schedules: true, ..Self::on(memory) }
    }

    pub(crate) fn then(self, commits: impl IntoIterator<Item = Commit>) -> Self {
        self.commits.lock().extend(commits);
        self
    }
}

/// A transaction that is counted while it is open.
pub(crate) struct OpenTx {
    tx: Option<MemoryTx>,
    open: Arc<AtomicUsize>,
}

impl OpenTx {
    fn close(mut self) -> MemoryTx {
        self.tx.take().expect("only `close` takes it")
    }
}

impl Deref for OpenTx {
    type Target = MemoryTx;

    fn deref(&self) -> &MemoryTx {
        self.tx.as_ref().expect("only `close` takes it")
    }
}

impl Drop for OpenTx {
    fn drop(&mut self) {
        self.open.fetch_sub(1, SeqCst);
    }
}

impl Store for Watched {
    type Tx = OpenTx;
    type Writer = MemoryWriter;

    fn database(&self) -> DatabaseId {
        Store::database(&self.memory)
    }
    async fn begin(&self, scope: Scope) -> Result<OpenTx> {
        let tx = Some(self.memory.begin(scope).await?);
        self.open.fetch_add(1, SeqCst);
        Ok(OpenTx { tx, open: self.open.clone() })
    }
    async fn commit(
        &self,
        tx: OpenTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        let told = self.commits.lock().pop_front();
        if self.is_outdated.load(SeqCst) {
            return Err(CommitError::Store(outdated("commit")));
        }
        let lost = || Error::new(ErrorKind::TimedOut, "hear whether it was committed");
        match told {
            None => self.memory.commit(tx.close(), conditions, buffered).await,
            Some(Commit::Refuse(refusal)) => Ok(Committed::Refused(vec![(0, refusal)])),
            Some(Commit::RefuseNothing) => Ok(Committed::Refused(Vec::new())),
            Some(Commit::DoneUnknown) => {
                self.memory.commit(tx.close(), conditions, buffered).await?;
                Err(CommitError::Unknown(lost()))
            }
            Some(Commit::LostUnknown) => Err(CommitError::Unknown(lost())),
            Some(Commit::Fail) => {
                Err(CommitError::Store(Error::new(ErrorKind::Corrupt, "write the inbox")))
            }
            Some(Commit::TooLarge) => {
                Err(CommitError::Store(Error::new(ErrorKind::TooLarge, "write a row")))
            }
            Some(Commit::Away) => {
                Err(CommitError::Store(Error::new(ErrorKind::Unavailable, "reach the store")))
            }
            Some(Commit::DoneAndHang) => {
                self.memory.commit(tx.close(), conditions, buffered).await?;
                std::future::pending().await
            }
            Some(Commit::Hang) => {
                let _open = tx;
                std::future::pending().await
            }
        }
    }
    fn writer(&self, scope: Scope) -> MemoryWriter {
        self.memory.writer(scope)
    }
    async fn admitted(&self, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
        if self.inbox_is_outdated.load(SeqCst) {
            return Err(outdated("ask the inbox"));
        }
        self.memory.admitted(sightings).await
    }
    async fn prune_inbox(&self, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
        if self.is_outdated.load(SeqCst) {
            return Err(outdated("prune an inbox"));
        }
        self.memory.prune_inbox(endpoint, before, limit).await
    }
    fn outbox(&self) -> &dyn Outbox {
        self
    }
    fn schedules(&self) -> Option<&dyn Schedules> {
        self.keeps_schedules.then_some(&self.memory as &dyn Schedules)
    }
}

impl Outbox for Watched {
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>>> {
        self.claims.fetch_add(1, SeqCst);
        if self.is_outdated.load(SeqCst) {
            let refused = Err(outdated("claim rows of the outbox"));
            return Box::pin(std::future::ready(refused));
        }
        let fails = self.failing_claims.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            let error = Error::new(ErrorKind::Unavailable, "claim rows of the outbox");
            return Box::pin(std::future::ready(Err(error)));
        }
        self.memory.outbox().claim(limit, lease, now)
    }
    fn sent<'a>(&'a self, rows: &'a [OutboxToken]) -> BoxFuture<'a, Result<()>> {
        let fails = self.failing_removals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            let error = Error::new(ErrorKind::Unavailable, "remove rows of the outbox");
            return Box::pin(std::future::ready(Err(error)));
        }
        self.memory.outbox().sent(rows)
    }
    fn postpone<'a>(
        &'a self,
        row: OutboxToken,
        until: Timestamp,
        error: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        self.memory.outbox().postpone(row, until, error)
    }
    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>> {
        self.memory.outbox().park(row, error)
    }
    fn release(&self) -> BoxFuture<'_, Result<u64>> {
        if self.is_outdated.load(SeqCst) {
            return Box::pin(std::future::ready(Err(outdated("release rows of the outbox"))));
        }
        self.memory.outbox().release()
    }
    fn give_back<'a>(
        &'a self,
        rows: &'a [OutboxToken],
        until: Timestamp,
    ) -> BoxFuture<'a, Result<()>> {
        self.memory.outbox().give_back(rows, until)
    }
    fn parked(&self, after: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>> {
        self.memory.outbox().parked(after, limit)
    }
    fn discard<'a>(&'a self, rows: &'a [i64]) -> BoxFuture<'a, Result<u64>> {
        self.memory.outbox().discard(rows)
    }
    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>> {
        self.memory.outbox().depth()
    }
    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        Box::pin(async {
            if let Some((clock, by)) = self.slow_due.lock().take() {
                clock.advance(by);
            }
            self.memory.outbox().next_due().await
        })
    }
    fn appended(&self) -> BoxFuture<'_, ()> {
        self.memory.outbox().appended()
    }
}
