//! A relay that finds nothing sleeps, and those who append wake it.

use crate::open::{Core, OUTBOX};
use crate::processes::Eager;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::Timestamp;

/// How the relay of this process waits.
#[derive(Default)]
pub(crate) struct Rest(Mutex<Resting>);

#[derive(Default)]
struct Resting {
    eager: Eager,
    /// Since when every claim has brought something.
    busy_since: Option<Timestamp>,
    /// When to look again if nobody calls.
    until: Option<Timestamp>,
}

/// Who is busy for longer than this need not be woken.
const BUSY: Duration = Duration::from_secs(1);
/// How long at most rows are overlooked of which nobody has told.
const LOOK: Duration = Duration::from_secs(5);

impl Rest {
    /// A claim has brought rows.
    pub(super) fn finds(core: &Arc<Core>) {
        let now = core.here();
        let mut resting = core.rest.0.lock();
        resting.eager.finds(now);
        let since = *resting.busy_since.get_or_insert(now);
        if now.since(since) > BUSY && core.sleepers.is_marked(OUTBOX) {
            let core = core.clone();
            tokio::spawn(async move { core.sleepers.unmark(&core, OUTBOX).await });
        }
    }

    /// A claim has brought nothing. Answers whether to look once more: what was appended before others
    /// knew that they have to wake us, nobody tells. Dropped, they may or may not know.
    pub(super) async fn finds_nothing(core: &Arc<Core>) -> Result<bool> {
        let is_told = core.is_heard();
        let until = {
            let mut resting = core.rest.0.lock();
            resting.busy_since = None;
            resting.until = resting.eager.finds_nothing(core.here(), is_told);
            resting.until
        };
        if !is_told || until.is_some() || core.sleepers.is_marked(OUTBOX) {
            return Ok(false);
        }
        core.sleepers.mark(core, OUTBOX).await?;
        Ok(true)
    }

    /// Ends when it is time to look again, although nobody has called.
    pub(super) async fn ends(core: &Core) {
        let until = core.rest.0.lock().until;
        let pause = until.map_or(LOOK, |until| until.since(core.here()));
        tokio::time::sleep(pause).await;
    }
}
