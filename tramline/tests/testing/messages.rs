//! Messages for the tests.

use serde::{Deserialize, Serialize};
use tramline::Message;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) n: u64,
}

impl Message for Order {
    const NAME: &'static str = "orders.placed";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paid {
    pub(crate) n: u64,
}

impl Message for Paid {
    const NAME: &'static str = "orders.paid";
}
