//! One supervised connection: it comes back by itself until it is closed.

mod attempt;
mod backoff;
mod brief;
mod connect;
mod health;
#[expect(clippy::module_inception, reason = "the file of the folder's one idea")]
mod link;
mod session;

pub(crate) use backoff::pause;
pub(crate) use brief::Brief;
pub(crate) use health::worse;
pub(crate) use link::{Link, LinkState, Prepare};
pub(crate) use session::{Blocked, Session};
