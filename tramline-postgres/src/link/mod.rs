//! Connections to the server.

mod backoff;
mod connected;
mod line;
mod target;

pub(crate) use connected::{Connected, Params};
pub(crate) use line::{Down, Line};
pub(crate) use target::Target;
