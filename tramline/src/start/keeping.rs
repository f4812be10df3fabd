//! What stores need while a bus runs: a relay for those that are elsewhere, and inboxes that forget.

use crate::bus::{Bus, publishing};
use crate::endpoint::Shared;
use crate::relay::{Relay, relay};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::compose::{Composer, Publishing};
use tramline_core::erased::DynStore;

/// Begins to keep `stores`. The inboxes of `endpoints` forget after `retention`; those of other
/// services on the same database are theirs to prune.
pub(super) fn keep(
    bus: &Bus,
    stores: Vec<Arc<dyn DynStore>>,
    endpoints: &[Arc<Shared>],
    retention: Duration,
) {
    for endpoint in endpoints {
        if let Some(store) = &endpoint.store {
            start_pruning(bus, store.clone(), endpoint.surroundings.identity.clone(), retention);
        }
    }
    for store in stores {
        let publishing = publishing(&*bus.inner().transport, &store.database_dyn());
        if publishing == Publishing::Outbox || store.outbox_dyn().is_shared() {
            start_relay(bus, store);
        }
    }
}

fn start_relay(bus: &Bus, store: Arc<dyn DynStore>) {
    let running = bus.inner();
    let relay = relay(Relay {
        store,
        sender: running.sender.clone(),
        composer: running.composer.clone(),
        send_limit: running.send_limit,
        unrouted: running.unrouted.clone(),
        stopping: running.stopping.clone(),
    });
    let killed = running.killed.clone();
    // Cut short in the middle of a send, its rows come again under the same ids.
    running.loops.spawn(async move { killed.run_until_cancelled_owned(relay).await });
}

fn start_pruning(bus: &Bus, store: Arc<dyn DynStore>, endpoint: Arc<str>, retention: Duration) {
    let running = bus.inner();
    let (composer, stopping) = (running.composer.clone(), running.stopping.clone());
    let prune = async move { prune_inbox(&*store, &endpoint, &composer, retention).await };
    running.loops.spawn(async move { stopping.run_until_cancelled_owned(prune).await });
}

/// Forgets what is older than `retention`, a little at a time, for ever.
async fn prune_inbox(
    store: &dyn DynStore,
    endpoint: &str,
    composer: &Composer,
    retention: Duration,
) {
    const EVERY: Duration = Duration::from_secs(60);
    const ROWS_AT_ONCE: u32 = 1000;
    loop {
        let now = composer.clock.now();
        match store.prune_inbox_dyn(endpoint, now.before(retention), ROWS_AT_ONCE).await {
            Ok(pruned) if pruned >= u64::from(ROWS_AT_ONCE) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, endpoint, "the inbox could not be pruned"),
        }
        composer.clock.sleep_until(now.after(EVERY)).await;
    }
}
