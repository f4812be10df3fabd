//! An endpoint whose store is another file: its inbox keeps duplicates off, its outbox is relayed.

use super::consumer::{ELSEWHERE, FILE, INBOX_RETENTION, create, effect, open};
use super::message::{Forwarded, Placed};
use super::processes::Round;
use tramline::{Bus, Draft, Endpoint, Failure, Sqlite, Tx};

/// The name of the file that is not the queues'.
pub(crate) const STORE_FILE: &str = "elsewhere.db";

/// Starts the endpoint on a bus of its own.
pub(crate) async fn start(round: &Round) -> Result<Bus, String> {
    // Not a clone of the other bus's: the first of the two that ends would close it for both.
    let transport = open(round, FILE).await?;
    let store = open(round, STORE_FILE).await?;
    create(&store).await?;
    let endpoint = Endpoint::new(ELSEWHERE).subscribe::<Placed>().concurrency(8).transactional();
    let bus = Bus::builder(transport).store(store).inbox_retention(INBOX_RETENTION);
    bus.endpoint(endpoint.handle(forward)).start().await.map_err(|error| error.to_string())
}

async fn forward(placed: Placed, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| {
        effect(db, ELSEWHERE, &placed)?;
        let forwarded = Forwarded(placed.clone());
        db.publish(Draft::of(&forwarded).key(placed.key.clone()))
    })
}
