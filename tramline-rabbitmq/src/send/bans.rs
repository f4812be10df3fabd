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
const BANS_MAX: usize = 64;

/// What was forbidden within the last seconds.
#[derive(Debug, Default)]
pub(super) struct Bans {
    /// Whether there may be any: looked at for each message.
    has_some: AtomicBool,
    bans: Mutex<Vec<Ban>>,
}

#[derive(Debug)]
struct Ban {
    forbidden: Forbidden,
    said: String,
    since: Instant,
}

impl Bans {
    /// Remembers that the broker has just forbidden this, in the words `said`.
    pub(super) fn add(&self, forbidden: Forbidden, said: String) {
        let mut bans = self.bans.lock();
        bans.retain(|ban| ban.forbidden != forbidden);
        let too_many = (bans.len() + 1).saturating_sub(BANS_MAX);
        bans.drain(..too_many);
        bans.push(Ban { forbidden, said, since: Instant::now() });
        self.has_some.store(true, Ordering::Release);
    }

    /// # Errors
    /// What the broker said a moment ago, if it forbade to publish there.
    pub(super) fn check(&self, to: &Published, outgoing: &Outgoing) -> Result<()> {
        let mut bans = self.bans.lock();
        bans.retain(|ban| ban.since.elapsed() < REMEMBERED);
        self.has_some.store(!bans.is_empty(), Ordering::Release);
        match bans.iter().find(|ban| ban.forbidden.holds_for(to)) {
            Some(ban) => Err(ban.forbidden.error(outgoing, &ban.said)),
            None => Ok(()),
        }
    }

    /// Whether anything may be forbidden.
    pub(super) fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }
}
