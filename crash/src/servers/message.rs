//! What is sent, and what is to become of it.

use serde::{Deserialize, Serialize};
use tramline::Message;

/// An event that the endpoints of a scenario have subscribed to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Placed {
    /// Never used twice, and growing with each message of a producer.
    pub(crate) number: u64,
    /// Of its order; empty where there is none.
    pub(crate) key: String,
    /// How often endpoints that fail are to fail at it before they handle it.
    pub(crate) fails: u32,
    /// Weight.
    pub(crate) padding: String,
}

impl Message for Placed {
    const NAME: &'static str = "crash.placed";
}

/// As often as this: it fails for good.
pub(crate) const DIES: u32 = u32::MAX;
/// As often as this: it kills whoever handles it.
pub(crate) const KILLS: u32 = u32::MAX - 1;

/// What a transactional endpoint publishes, in its transaction, for each event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) number: u64,
}

impl Message for Noted {
    const NAME: &'static str = "noted.placed";
}
