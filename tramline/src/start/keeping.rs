//! What stores need while a bus runs: a relay for those that are elsewhere, and inboxes that forget.

use crate::bus::{Bus, publishing};
use crate::endpoint::Shared;
use crate::relay::{Relay, relay};
use crate::schedules::{Declared, Scheduler, schedule};
use crate::stopping::Stopping;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::erased::DynStore;
use tramline_core::topology::Subscription;
use tramline_core::transport::Transport;

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

/// Begins to fire what is due in the store that keeps the schedules, and `recurring`.
pub(super) async fn fire_schedules(
    bus: &Bus,
    recurring: Vec<Declared>,
) -> tramline_core::Result<()> {
    let running = bus.inner();
    let Some(store) = &running.schedules else { return Ok(()) };
    let publishing = publishing(&*running.transport, &store.database_dyn());
    let scope = Scope::outside(running.composer.clone(), publishing);
    let scheduler = Scheduler::new(store.clone(), scope, running.stopping.clone(), recurring);
    scheduler.declare().await?;
    let killed = running.killed.clone();
    let firing = schedule(scheduler);
    running.loops.spawn(async move { killed.run_until_cancelled_owned(firing).await });
    Ok(())
}

/// Names the subscriptions of these endpoints' queues that nobody asked for any more. They still
/// bring messages, which an older instance may want: only an operator ends them.
pub(super) async fn warn_of_orphans<T: Transport>(transport: &T, endpoints: &[Arc<Shared>]) {
    let Some(operate) = transport.operate() else { return };
    let orphans = match operate.orphans().await {
        Ok(orphans) => orphans,
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        Err(error) => return tracing::warn!(%error, "orphaned subscriptions are not known"),
    };
    let is_ours =
        |orphan: &Subscription| endpoints.iter().any(|endpoint| endpoint.queue == orphan.queue);
    for Subscription { queue, topic, .. } in orphans.iter().filter(|orphan| is_ours(orphan)) {
        tracing::warn!(%queue, %topic, "an orphaned subscription: the queue still gets what is \
            published there, and its endpoint does not ask for it any more; `unsubscribe` ends it");
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
        unavailable: 0,
    });
    let killed = running.killed.clone();
    // Cut short in the middle of a send, its rows come again under the same ids.
    running.loops.spawn(async move { killed.run_until_cancelled_owned(relay).await });
}

fn start_pruning(bus: &Bus, store: Arc<dyn DynStore>, endpoint: Arc<str>, retention: Duration) {
    let running = bus.inner();
    let (composer, stopping) = (running.composer.clone(), running.stopping.clone());
    running.loops.spawn(async move {
        tokio::select! {
            biased;
            () = stopping.begun() => {}
            () = prune_inbox(&*store, &endpoint, &composer, retention, &stopping) => {}
        }
    });
}

/// Forgets what is older than `retention`, a little at a time, for ever.
async fn prune_inbox(
    store: &dyn DynStore,
    endpoint: &str,
    composer: &Composer,
    retention: Duration,
    stopping: &Stopping,
) {
    const EVERY: Duration = Duration::from_secs(60);
    const ROWS_AT_ONCE: u32 = 1000;
    loop {
        let now = composer.clock.now();
        match store.prune_inbox_dyn(endpoint, now.before(retention), ROWS_AT_ONCE).await {
            Ok(pruned) if pruned >= u64::from(ROWS_AT_ONCE) => continue,
            Ok(_) => {}
            Err(error) if stopping.heed(&error) => return,
            Err(error) => tracing::warn!(%error, endpoint, "the inbox could not be pruned"),
        }
        composer.clock.sleep_until(now.after(EVERY)).await;
    }
}
