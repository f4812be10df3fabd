//! The endpoints together.

use super::{analytics, email, inventory, payment, vip};
use crate::database::Tables;
use tramline::Endpoint;

/// Every endpoint, with the tables in the store `S`.
pub(crate) fn all<S: Tables>() -> [Endpoint; 5] {
    [
        payment::endpoint::<S>(),
        inventory::endpoint::<S>(),
        vip::endpoint::<S>(),
        email::endpoint::<S>(),
        analytics::endpoint::<S>(),
    ]
}
