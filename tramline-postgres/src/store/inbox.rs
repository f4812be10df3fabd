//! Which messages endpoints have handled.

use super::conditions::{Sightings, refusal};
use crate::error::failed;
use crate::open::Core;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::store::{Refusal, Sighting};

/// What is known of each.
pub(super) async fn known(core: &Core, sightings: &[Sighting]) -> Result<Vec<Option<Refusal>>> {
    const SQL: &str = "SELECT tramline.known_all($1, $2, $3, $4, $5, $6)";
    if sightings.is_empty() {
        return Ok(Vec::new());
    }
    core.refuse_when_outdated()?;
    let columns = Sightings::of(sightings);
    let connected = core.operating.try_connected().await?;
    let Sightings { endpoints, messages, keys, ids, hashes, keyed } = &columns;
    let row = connected.query_one(SQL, &[endpoints, messages, keys, ids, hashes, keyed]).await;
    let doing = || format!("look into the inbox in {}", core.target);
    let known: Vec<i32> = row.map_err(|error| failed(doing(), &error))?.get(0);
    let known: Vec<_> = known.into_iter().map(refusal).collect();
    let is_duplicate = |known: &&Option<Refusal>| **known == Some(Refusal::Duplicate);
    count_duplicates(core, known.iter().filter(is_duplicate).count()).await;
    Ok(known)
}

/// Counts messages that were refused because they were handled before. They were refused all the same
/// if that fails.
pub(super) async fn count_duplicates(core: &Core, duplicates: usize) {
    const SQL: &str = "INSERT INTO tramline.tally VALUES ('duplicates', $1)";
    if duplicates == 0 {
        return;
    }
    let counted = async {
        let connected = core.operating.try_connected().await?;
        let counted = connected.query(SQL, &[&(duplicates as i64)]).await;
        counted.map_err(|error| failed(format!("write to {}", core.target), &error))
    };
    if let Err(error) = counted.await {
        tracing::warn!(%error, duplicates, "not counted");
    }
}

/// Forgets the oldest rows of one endpoint, as far as they are older than `before`.
pub(super) async fn prune(
    core: &Core,
    endpoint: &str,
    before: Timestamp,
    limit: u32,
) -> Result<u64> {
    const SQL: &str = "SELECT tramline.prune_inbox($1, $2, $3)";
    core.refuse_when_outdated()?;
    let connected = core.operating.try_connected().await?;
    let endpoint = super::conditions::without_nul(endpoint);
    let row = connected.query_one(SQL, &[&endpoint, &before.as_micros(), &i64::from(limit)]).await;
    let doing = || format!("prune the inbox in {}", core.target);
    let pruned: i64 = row.map_err(|error| failed(doing(), &error))?.get(0);
    Ok(pruned.unsigned_abs())
}
