//! Messages are sent: one commit for many callers.

mod columns;
mod placed;
mod placing;
mod plan;
mod sender;
mod sending;
mod writing;

pub(crate) use columns::Columns;
pub(crate) use placed::Placed;
pub(crate) use placing::Placing;
pub(crate) use plan::{Plan, Step};
pub use sender::PostgresSender;
pub(crate) use sending::Sending;
pub(crate) use writing::{BORN_HERE, DIRECT};
