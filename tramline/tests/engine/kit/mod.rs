//! What the tests share: a world with a wound clock, messages, and rigged drivers.

mod alone;
mod counters;
mod messages;
mod store;
mod transport;
mod wall_clock;
mod world;
mod written;

pub(crate) use alone::alone;
pub(crate) use counters::Counters;
pub(crate) use messages::{Log, Order, Paid, Ping, Renamed};
pub(crate) use store::{Commit, Watched};
pub(crate) use transport::{Answer, Rigged, outdated};
pub(crate) use wall_clock::WallClock;
pub(crate) use world::{SECOND, World, at_once, idle};
pub(crate) use written::Written;
