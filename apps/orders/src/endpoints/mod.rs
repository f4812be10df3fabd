//! What happens to an order: one file for each endpoint, each on the queue of its name.

mod all;
mod analytics;
mod email;
mod inventory;
mod light;
mod nightly;
mod payment;
mod reminder;
mod stock;
mod vip;

pub(crate) use all::{all, recurring};
pub(crate) use light::{ANALYTICS, EMAIL, INVENTORY, ON_BOTH, ON_PAID, ON_PLACED, PAYMENT, VIP};
pub(crate) use reminder::reminder_name;
pub(crate) use stock::stock_desk;
