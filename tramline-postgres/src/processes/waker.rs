//! Wakes those who wait in other processes, after a commit: never inside of it, because a transaction
//! that notifies holds up the commits of all others.

use crate::open::Core;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// At most one call in this time.
const PAUSE: Duration = Duration::from_millis(5);

/// What is to be told to others.
#[derive(Default)]
pub(crate) struct Waker(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    queues: BTreeSet<i32>,
    /// A task is on its way to tell them.
    is_told: bool,
    last: Option<Instant>,
}

impl Waker {
    /// Tells others of `queues`: at once, or 5 ms after the last time.
    pub(crate) fn wake(&self, core: &Arc<Core>, queues: Vec<i32>) {
        let mut waiting = self.0.lock();
        waiting.queues.extend(queues);
        if waiting.is_told {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        waiting.is_told = true;
        let due = waiting.last.map(|last| last + PAUSE);
        runtime.spawn(tell(Arc::downgrade(core), due));
    }

    fn take(&self) -> Vec<i32> {
        let mut waiting = self.0.lock();
        waiting.is_told = false;
        waiting.last = Some(Instant::now());
        std::mem::take(&mut waiting.queues).into_iter().collect()
    }
}

async fn tell(core: Weak<Core>, due: Option<Instant>) {
    // If a crash of the server forgets that somebody was woken, he is connected anew, and looks.
    const WAKE: &str = "SELECT set_config('synchronous_commit', 'off', true), tramline.wake($1)";
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
    let Some(core) = core.upgrade() else { return };
    let queues = core.waker.take();
    // Whoever is not woken looks by himself before long, and so he does after a loss of connection.
    let Ok(connected) = core.operating.connected().await else { return };
    if let Err(error) = connected.query(WAKE, &[&queues]).await {
        tracing::debug!(%error, "others were not woken");
    }
}
