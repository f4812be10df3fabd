//! Connections to the server.

mod backoff;
mod connected;
mod connecting;
mod line;
mod server;
mod target;
mod tls;
mod url;

pub(crate) use backoff::Backoff;
pub(crate) use connected::{Connected, Params};
pub(crate) use line::{Down, Line};
pub(crate) use target::Target;
pub(crate) use tls::Mode;
