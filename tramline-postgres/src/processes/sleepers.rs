//! Whom others have to wake: a row for each queue at which this process waits.

use crate::error::failed;
use crate::open::Core;
use parking_lot::Mutex;
use std::collections::HashSet;
use tramline_core::Result;

/// The queues for which a row says that this process is asleep.
#[derive(Default)]
pub(crate) struct Sleepers(Mutex<HashSet<i32>>);

impl Sleepers {
    /// Whether others will wake this process for `queue`. What was looked at before they knew may have
    /// changed since.
    pub(crate) fn is_marked(&self, queue: i32) -> bool {
        self.0.lock().contains(&queue)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<i32> {
        self.0.lock().iter().copied().collect()
    }

    /// Others wake this process for `queue` from now on. Dropped, they may or may not.
    pub(crate) async fn mark(&self, core: &Core, queue: i32) -> Result<()> {
        const MARK: &str = "SELECT tramline.rest($1, $2, $3, $4, $5)";
        let connected = core.operating.connected().await?;
        let (lease, now) = (core.lease_micros(), core.now());
        let marked =
            connected.query(MARK, &[&queue, &core.process, &core.label, &lease, &now]).await;
        marked.map_err(|error| failed("ask to be woken", &error))?;
        self.0.lock().insert(queue);
        Ok(())
    }

    /// Nobody need wake this process for `queue`: it looks by itself.
    pub(crate) async fn unmark(&self, core: &Core, queue: i32) {
        const UNMARK: &str = "DELETE FROM tramline.asleep WHERE queue = $1 AND process = $2";
        // First here: whoever rests meanwhile asks anew.
        self.0.lock().remove(&queue);
        let Ok(connected) = core.operating.connected().await else { return };
        // A row that stays wakes us in vain, and no more.
        let _ = connected.query(UNMARK, &[&queue, &core.process]).await;
        core.hub.wake(queue.into());
    }

    /// The server may have forgotten: everybody has to ask anew.
    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }
}
