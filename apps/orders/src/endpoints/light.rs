//! What the endpoints have in common: their names, and how they work.

use std::time::Duration;
use tramline::{Endpoint, Retry};

pub(crate) const PAYMENT: &str = "payment";
pub(crate) const INVENTORY: &str = "inventory";
pub(crate) const VIP: &str = "vip";
pub(crate) const EMAIL: &str = "email";
pub(crate) const ANALYTICS: &str = "analytics";
pub(crate) const REMINDER: &str = "reminder";
pub(crate) const NIGHTLY: &str = "nightly";

/// The queues that hear of placed orders. Events flow from these to [`ON_PAID`], never back.
pub(crate) const ON_PLACED: [&str; 3] = [PAYMENT, INVENTORY, VIP];
/// The queues that hear of paid orders.
pub(crate) const ON_PAID: [&str; 2] = [EMAIL, ANALYTICS];
/// The queues that hear of both.
pub(crate) const ON_BOTH: [&str; 1] = [REMINDER];

/// An endpoint as all of ours are: its handlers are light.
pub(super) fn light(name: &str) -> Endpoint {
    /// They wait for commits that they share.
    const CONCURRENCY: usize = 256;
    const PREFETCH: u32 = 512;
    const PAUSE_FIRST: Duration = Duration::from_millis(20);
    Endpoint::new(name)
        .transactional()
        .concurrency(CONCURRENCY)
        .prefetch(PREFETCH)
        .retry(Retry::exponential(PAUSE_FIRST).runs(5).jitter())
}
