//! A store's calls that go wrong. What is written outside of handlers goes through untouched.

use super::call::Call;
use super::faults::Answer;
use super::faulty::Faulty;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Scope;
use tramline_core::store::{
    CommitError, Committed, Condition, DatabaseId, Outbox, Refusal, Schedules, Sighting, Store,
};
use tramline_core::transport::Outgoing;
use tramline_core::{Failure, Result};

impl<S: Store> Store for Faulty<S> {
    type Tx = S::Tx;
    type Writer = S::Writer;

    fn database(&self) -> DatabaseId {
        self.inner.database()
    }

    async fn begin(&self, scope: Scope) -> Result<S::Tx> {
        self.faults.through(Call::Begin, self.inner.begin(scope)).await.heard()
    }

    async fn commit(
        &self,
        tx: S::Tx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        let effect = async {
            let asked = conditions.clone();
            let committed = self.inner.commit(tx, conditions, buffered).await;
            if matches!(committed, Ok(Committed::Done)) {
                self.ledger.committed(&asked);
            }
            committed
        };
        match self.faults.through(Call::Commit, effect).await {
            Answer::Heard(committed) => committed,
            Answer::Failed(error) => Err(CommitError::Store(error)),
            Answer::Lost(error) => Err(CommitError::Unknown(error)),
        }
    }

    fn writer(&self, scope: Scope) -> S::Writer {
        self.inner.writer(scope)
    }

    async fn admitted(&self, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
        self.faults.through(Call::Admitted, self.inner.admitted(sightings)).await.heard()
    }

    async fn prune_inbox(&self, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
        let prune = self.inner.prune_inbox(endpoint, before, limit);
        self.faults.through(Call::PruneInbox, prune).await.heard()
    }

    fn outbox(&self) -> &dyn Outbox {
        self
    }

    fn schedules(&self) -> Option<&dyn Schedules> {
        self.inner.schedules()
    }

    fn is_away(&self, failure: &Failure) -> bool {
        self.inner.is_away(failure)
    }
}
