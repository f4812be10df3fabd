//! A store with a bug.

use super::bug::StoreBug;
use std::sync::Mutex;
use tramline::Memory;
use tramline::core::Result;
use tramline::core::clock::Timestamp;
use tramline::core::compose::Scope;
use tramline::core::store::{
    CommitError, Committed, Condition, DatabaseId, Outbox, Refusal, Sighting, Store,
};
use tramline::core::transport::Outgoing;
use tramline::memory::store::{MemoryTx, MemoryWriter};
use tramline::testing::faults::Faulty;

pub(super) struct PlantedStore {
    inner: Faulty<Memory>,
    bug: StoreBug,
    /// What the transactions apart are opened with.
    scope: Mutex<Option<Scope>>,
}

impl PlantedStore {
    pub(super) fn new(inner: Faulty<Memory>, bug: StoreBug) -> Self {
        Self { inner, bug, scope: Mutex::default() }
    }

    /// Commits `conditions` alone.
    async fn apart(&self, conditions: Vec<Condition>) -> Result<Committed, CommitError> {
        let scope = self.scope.lock().unwrap().clone().unwrap();
        let tx = self.inner.begin(scope).await.map_err(CommitError::Store)?;
        self.inner.commit(tx, conditions, Vec::new()).await
    }
}

impl Store for PlantedStore {
    type Tx = MemoryTx;
    type Writer = MemoryWriter;

    fn database(&self) -> DatabaseId {
        Store::database(&self.inner)
    }
    async fn begin(&self, scope: Scope) -> Result<MemoryTx> {
        *self.scope.lock().unwrap() = Some(scope.clone());
        self.inner.begin(scope).await
    }
    async fn commit(
        &self,
        tx: MemoryTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        let is_apart = |condition: &Condition| match self.bug {
            StoreBug::AdmitsBefore | StoreBug::AdmitsAfterwards => {
                matches!(condition, Condition::Admit(_))
            }
            StoreBug::AcksBefore => matches!(condition, Condition::Ack(_)),
            StoreBug::TakesSilenceForDone => false,
        };
        let (apart, together): (Vec<_>, Vec<_>) = conditions.into_iter().partition(is_apart);
        if self.bug == StoreBug::TakesSilenceForDone {
            return match self.inner.commit(tx, together, buffered).await {
                Err(CommitError::Unknown(_)) => Ok(Committed::Done),
                answer => answer,
            };
        }
        if self.bug == StoreBug::AdmitsAfterwards {
            let committed = self.inner.commit(tx, together, buffered).await?;
            self.apart(apart).await?;
            return Ok(committed);
        }
        match self.apart(apart).await? {
            Committed::Done => self.inner.commit(tx, together, buffered).await,
            refused => Ok(refused),
        }
    }
    fn writer(&self, scope: Scope) -> MemoryWriter {
        self.inner.writer(scope)
    }
    async fn admitted(&self, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
        self.inner.admitted(sightings).await
    }
    async fn prune_inbox(&self, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
        self.inner.prune_inbox(endpoint, before, limit).await
    }
    fn outbox(&self) -> &dyn Outbox {
        self.inner.outbox()
    }
}
