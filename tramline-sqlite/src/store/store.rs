//! The contract of stores, kept by a file.

use super::inbox;
use super::tx::SqliteTx;
use super::unit::{Unit, lost};
use super::write::SqliteWriter;
use crate::operate::Line;
use crate::sqlite::Sqlite;
use crate::writer::{Plan, Work, WriteError};
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Scope;
use tramline_core::store::{
    CommitError, Committed, Condition, DatabaseId, Outbox, Refusal, Schedules, Sighting, Store,
};
use tramline_core::transport::Outgoing;

impl Store for Sqlite {
    type Tx = SqliteTx;
    type Writer = SqliteWriter;

    fn database(&self) -> DatabaseId {
        self.core.shared.database.clone()
    }

    async fn begin(&self, scope: Scope) -> Result<SqliteTx> {
        Ok(SqliteTx::new(self.clone(), scope))
    }

    async fn commit(
        &self,
        tx: SqliteTx,
        conditions: Vec<Condition>,
        buffered: Vec<Outgoing>,
    ) -> Result<Committed, CommitError> {
        let (scope, closures) = tx.into_parts();
        let (mut unit, committed) = Unit::new(Some(scope), closures);
        unit.conditions = conditions;
        unit.buffered = buffered;
        self.core.submit(Box::new(unit)).await.map_err(lost)?;
        committed.await.unwrap_or_else(|_| Err(lost(WriteError::stopped())))
    }

    fn writer(&self, scope: Scope) -> SqliteWriter {
        SqliteWriter::new(self.clone(), scope)
    }

    async fn admitted(&self, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
        let sightings = sightings.to_vec();
        let look = move |connection: &rusqlite::Connection| {
            let looks = sightings.iter().map(|sighting| inbox::look(connection, sighting));
            looks.collect::<rusqlite::Result<Vec<_>>>()
        };
        let known = self.core.look("look into the inbox", look).await?;
        let is_duplicate = |known: &&Option<Refusal>| **known == Some(Refusal::Duplicate);
        let duplicates = known.iter().filter(is_duplicate).count();
        if duplicates > 0 {
            let count = move |work: &Work<'_>| work.count(Line::Duplicates, duplicates);
            self.core.write(Plan::passing(1), count).await.map_err(WriteError::into_error)?;
        }
        Ok(known)
    }

    async fn prune_inbox(&self, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
        let plan = Plan::passing(limit as usize);
        let endpoint = endpoint.to_owned();
        let prune = move |work: &Work<'_>| inbox::prune(work, &endpoint, before, limit);
        self.core.write(plan, prune).await.map_err(WriteError::into_error)
    }

    fn outbox(&self) -> &dyn Outbox {
        self
    }

    fn schedules(&self) -> Option<&dyn Schedules> {
        Some(self)
    }
}
