//! What is sent.

use serde::{Deserialize, Serialize};
use tramline::Message;

/// An order. How its handler fares depends on its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) n: u32,
    /// How often its handler fails before it succeeds.
    pub(super) failures: u32,
}

impl Message for Order {
    const NAME: &'static str = "orders.placed";
    const PROMOTE: &'static [&'static str] = &["n"];
}

impl Order {
    pub(super) fn of(n: u32) -> Self {
        Self { n, failures: 0 }
    }

    pub(super) fn failing(n: u32, failures: u32) -> Self {
        Self { n, failures }
    }

    /// Whether no handler ever succeeds.
    pub(super) fn is_hopeless(&self) -> bool {
        self.failures == HOPELESS
    }
}

/// The handler fails for good.
pub(super) const HOPELESS: u32 = u32::MAX;

/// What the handler of an order publishes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Paid {
    pub(super) n: u32,
}

impl Message for Paid {
    const NAME: &'static str = "orders.paid";
}
