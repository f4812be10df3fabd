//! What the broker has forbidden a moment ago.
//!
//! Each refusal closes the channel that all publish on. Who sends to a forbidden exchange again and
//! again would hold up all others.

use super::refusal::Forbidden;
use super::route::Published;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tramline_core::Result;
use tramline_core::transport::Outgoing;

/// How long the broker is not asked again. Whoever is permitted something meanwhile waits that long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Who is refused more than this at once is asked again for the oldest.
const REFUSALS_MAX: usize = 64;

/// What was forbidden within the last seconds.
#[derive(Debug, Default)]
pub(super) struct RecentRefusals {
    /// Whether there may be any: looked at for each message.
    has_some: AtomicBool,
    refusals: Mutex<Vec<Refusal>>,
}

#[derive(Debug)]
struct Refusal {
    forbidden: Forbidden,
    said: String,
    since: Instant,
}

impl RecentRefusals {
    /// Remembers that the broker has just forbidden this, in the words `said`.
    pub(super) fn add(&self, forbidden: Forbidden, said: String) {
        let mut refusals = self.refusals.lock();
        refusals.retain(|refusal| refusal.forbidden != forbidden);
        let too_many = (refusals.len() + 1).saturating_sub(REFUSALS_MAX);
        refusals.drain(..too_many);
        refusals.push(Refusal { forbidden, said, since: Instant::now() });
        self.has_some.store(true, Ordering::Release);
    }

    /// # Errors
    /// What the broker said a moment ago, if it forbade to publish there.
    pub(super) fn check(&self, to: &Published, outgoing: &Outgoing) -> Result<()> {
        let mut refusals = self.refusals.lock();
        refusals.retain(|refusal| refusal.since.elapsed() < REMEMBERED);
        self.has_some.store(!refusals.is_empty(), Ordering::Release);
        match refusals.iter().find(|refusal| refusal.forbidden.holds_for(to)) {
            Some(refusal) => Err(refusal.forbidden.error(outgoing, &refusal.said)),
            None => Ok(()),
        }
    }

    /// Whether anything may be forbidden.
    pub(super) fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }
}
