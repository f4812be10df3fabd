//! A server on its way up.

use crate::process;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// On a machine that is busy with other things.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(180);

/// How often one that starts is asked whether it is ready.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A server that was started, by us or by somebody else.
pub(crate) struct Starting(Option<Child>);

impl Starting {
    pub(crate) fn ours(child: Child) -> Self {
        Self(Some(child))
    }

    pub(crate) fn by_others() -> Self {
        Self(None)
    }

    /// Waits until it serves clients, or says why it does not: then it was killed, if it is ours.
    pub(crate) fn wait(self, is_ready: impl Fn() -> bool) -> Result<(), String> {
        let Self(mut child) = self;
        let deadline = Instant::now() + READY_LIMIT;
        let why = loop {
            if is_ready() {
                if let Some(child) = child {
                    process::release(child);
                }
                return Ok(());
            }
            if child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                break "it ended by itself".to_owned();
            }
            if Instant::now() >= deadline {
                break format!("it was not ready within {} s", READY_LIMIT.as_secs());
            }
            sleep(LOOK_EVERY);
        };
        if let Some(child) = child {
            process::abandon(child);
        }
        Err(why)
    }
}
