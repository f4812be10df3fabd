//! Transactions that others commit: asked after until their end is known.

use crate::error::failed;
use crate::open::Core;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tramline_core::Result;

/// Which transactions have written messages, by their ids, and to which queues.
#[derive(Default)]
pub(crate) struct Watch {
    watched: Mutex<Watched>,
    newly: Arc<Notify>,
}

#[derive(Default)]
struct Watched {
    transactions: HashMap<String, BTreeSet<i32>>,
    /// There is a task that asks.
    is_asking: bool,
}

/// The first pause; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(100);

impl Watch {
    /// These queues are woken once this transaction is committed.
    pub(super) fn note(core: &Arc<Core>, xid: String, queues: impl IntoIterator<Item = i32>) {
        let watch = &core.watch;
        let mut watched = watch.watched.lock();
        watched.transactions.entry(xid).or_default().extend(queues);
        if !watched.is_asking {
            watched.is_asking = true;
            tokio::spawn(ask(Arc::downgrade(core), Asking(Arc::downgrade(core))));
        }
        watch.newly.notify_one();
    }

    /// All queues that a transaction has written to whose end is not known yet.
    pub(super) fn queues(&self) -> BTreeSet<i32> {
        self.watched.lock().transactions.values().flatten().copied().collect()
    }

    fn ids(&self) -> Vec<String> {
        self.watched.lock().transactions.keys().cloned().collect()
    }

    /// Forgets these transactions. Answers their queues.
    fn ended(&self, xids: &[String]) -> BTreeSet<i32> {
        let mut watched = self.watched.lock();
        xids.iter().filter_map(|xid| watched.transactions.remove(xid)).flatten().collect()
    }

    /// Whether there is nothing left to ask for; then nobody asks any more.
    fn is_over(&self) -> bool {
        let mut watched = self.watched.lock();
        watched.is_asking = !watched.transactions.is_empty();
        !watched.is_asking
    }
}

/// Says, when the task that asks is dropped with its runtime, that nobody does.
struct Asking(Weak<Core>);

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(core) = self.0.upgrade() {
            core.watch.watched.lock().is_asking = false;
        }
    }
}

async fn ask(core: Weak<Core>, mut asking: Asking) {
    let Some(newly) = core.upgrade().map(|core| core.watch.newly.clone()) else { return };
    let mut pause = FIRST;
    loop {
        let mut sleep = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut sleep => break,
                // However many come, the first pause is waited for once.
                () = newly.notified(), if pause > FIRST => {
                    pause = FIRST;
                    sleep.set(tokio::time::sleep(pause));
                }
            }
        }
        pause = (2 * pause).min(LONGEST);
        let Some(core) = core.upgrade() else { return };
        match ended(&core, core.watch.ids()).await {
            Ok(xids) => core.woken_by_commit(core.watch.ended(&xids)),
            Err(error) if error.is_transient() => tracing::debug!(%error, "asking again"),
            // Nobody is woken, and slow polls find what there is.
            Err(error) => {
                tracing::warn!(%error, "nobody is woken by transactions of the program's own");
                core.watch.ended(&core.watch.ids());
            }
        }
        if core.watch.is_over() {
            // From here on, another task may be asking.
            asking.0 = Weak::new();
            return;
        }
    }
}

/// Those of these transactions that have ended, one way or the other.
async fn ended(core: &Core, xids: Vec<String>) -> Result<Vec<String>> {
    const SQL: &str = "SELECT xid FROM unnest($1::text[]) AS watched(xid)
         WHERE pg_xact_status(xid::xid8) IS DISTINCT FROM 'in progress'";
    let connected = core.operating.connected().await?;
    let rows = connected.query(SQL, &[&xids]).await;
    let doing = || format!("ask how transactions ended in {}", core.target);
    let rows = rows.map_err(|error| failed(doing(), &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
