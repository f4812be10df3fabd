//! What happens to an order: one file for each endpoint, each on the queue of its name.

mod all;
mod analytics;
mod email;
mod inventory;
mod light;
mod payment;
mod vip;

pub(crate) use all::all;
pub(crate) use light::{ANALYTICS, EMAIL, INVENTORY, ON_PAID, ON_PLACED, PAYMENT, VIP};
