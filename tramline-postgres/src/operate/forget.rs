//! What queues keep for a while only goes a little at a time, beside the work.

use crate::error::failed;
use crate::open::Core;
use std::time::Duration;
use tokio::time::Instant;
use tramline_core::Result;

/// Removes what queues have kept for long enough: handled messages, dead letters, what they have seen. Goes
/// on as long as there is more and `at_most` is not over. Dropped, it may have removed some of it.
///
/// # Errors
/// The server cannot be reached or fails.
pub(crate) async fn forget(core: &Core, at_most: Duration) -> Result<()> {
    /// How many rows go in one transaction.
    const STEP: i64 = 1000;
    let began = Instant::now();
    loop {
        let connected = core.operating.connected().await?;
        let row =
            connected.query_one("SELECT tramline.forget($1, $2)", &[&core.now(), &STEP]).await;
        let row = row.map_err(|error| failed("forget what was kept for long enough", &error))?;
        if row.get::<_, i64>(0) < STEP || began.elapsed() > at_most {
            return Ok(());
        }
    }
}
