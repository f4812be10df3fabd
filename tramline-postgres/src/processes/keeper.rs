//! Every few seconds a process says that it lives, and looks after what the dead have left.

use crate::error::failed;
use crate::open::Core;
use crate::operate::forget;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::Instant;
use tramline_core::Result;

/// How often, if the lease is not short. It is also how long at most a message waits that nobody was
/// told of.
const EVERY: Duration = Duration::from_secs(5);

/// Keeps the leases of a process until its core is gone.
pub(crate) async fn keep(core: Weak<Core>) {
    let Some(lease) = core.upgrade().map(|core| core.settings.lease) else { return };
    let every = EVERY.min(lease / 6);
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(every).await;
        let Some(core) = core.upgrade() else { return };
        let asked = Instant::now();
        let tended = async {
            tend(&core).await?;
            heard = asked;
            forget(&core, every / 2).await
        };
        match tokio::time::timeout(lease / 2, tended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "to be tried again"),
            Err(_) => tracing::warn!(target = %core.target, "the server does not answer"),
        }
        if heard.elapsed() >= lease {
            // Others may have taken it by now.
            core.leases.lose_all();
        }
    }
}

async fn tend(core: &std::sync::Arc<Core>) -> Result<()> {
    const TEND: &str = "SELECT * FROM tramline.tend($1, $2, $3, $4, $5, $6)";
    let connected = core.operating.connected().await?;
    let (tokens, resting) = (core.leases.tokens(), core.sleepers.all());
    let row = connected
        .query_one(
            TEND,
            &[&core.process, &core.label, &core.lease_micros(), &core.now(), &tokens, &resting],
        )
        .await;
    let row = row.map_err(|error| failed("renew leases", &error))?;
    core.leases.lose(&row.get::<_, Vec<i64>>(0));
    core.woken_by_commit(row.get::<_, Vec<i32>>(1));
    row.get::<_, Vec<i32>>(2).into_iter().for_each(|queue| core.hub.wake(queue.into()));
    Ok(())
}
