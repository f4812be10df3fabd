//! The endpoints together.

use super::{analytics, email, inventory, payment, vip};
use tramline::Endpoint;

/// Every endpoint.
pub(crate) fn all() -> [Endpoint; 5] {
    [
        payment::endpoint(),
        inventory::endpoint(),
        vip::endpoint(),
        email::endpoint(),
        analytics::endpoint(),
    ]
}
