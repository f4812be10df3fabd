//! The contract of stores, kept by a server.

use super::commit::commit;
use super::failure;
use super::inbox;
use super::tx::PostgresTx;
use super::writer::PostgresWriter;
use crate::postgres::Postgres;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Scope;
use tramline_core::store::{
    CommitError, Committed, Condition, DatabaseId, Outbox, Refusal, Schedules, Sighting, Store,
};
use tramline_core::transport::Outgoing;
use tramline_core::{Error, Failure, Result};

impl Store for Postgres {
    type Tx = PostgresTx;
    type Writer = PostgresWriter;

    fn database(&self) -> DatabaseId {
        self.core.database.clone()
    }

    /// Asks nothing of the server: its transaction begins when a handler first wants it.
    async fn begin(&self, scope: Scope) -> Result<PostgresTx> {
        Ok(PostgresTx::new(self.core.clone(), scope))
    }

    async fn commit(
        &self,
        tx: PostgresTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        let committed = commit(&self.core, tx, conditions, buffered).await;
        if let Ok(Committed::Refused(refused)) = &committed {
            let is_duplicate = |refused: &&(usize, Refusal)| refused.1 == Refusal::Duplicate;
            inbox::count_duplicates(&self.core, refused.iter().filter(is_duplicate).count()).await;
        }
        committed
    }

    fn writer(&self, scope: Scope) -> PostgresWriter {
        PostgresWriter::new(self.clone(), scope)
    }

    async fn admitted(&self, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
        inbox::known(&self.core, sightings).await
    }

    async fn prune_inbox(&self, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
        inbox::prune(&self.core, endpoint, before, limit).await
    }

    fn outbox(&self) -> &dyn Outbox {
        self
    }

    fn schedules(&self) -> Option<&dyn Schedules> {
        Some(self)
    }

    fn is_away(&self, failure: &Failure) -> bool {
        let said = failure.find::<Error>().map(Error::is_transient);
        said.or_else(|| failure.find().map(failure::is_away)).unwrap_or_default()
    }
}
