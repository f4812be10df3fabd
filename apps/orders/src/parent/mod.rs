//! The parent process: it opens everything, places the orders, reports, and serves the API.

mod open;
#[expect(clippy::module_inception, reason = "its life, beside the parts of it")]
mod parent;
mod place;
mod stop_signal;

pub(crate) use parent::parent;
