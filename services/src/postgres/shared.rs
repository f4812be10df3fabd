//! The server that tests have in common.

use super::Server;
use crate::Result;

/// Where tests, benches and examples are told of a server to use.
const VARIABLE: &str = "TRAMLINE_POSTGRES_URL";

/// The server that `TRAMLINE_POSTGRES_URL` names, or else `postgres` of this checkout, started if it
/// is installed and does not run. It stays up, until `cargo xtask services down`.
///
/// Others use it at the same time: work in a database of your own, and do not kill it.
///
/// # Errors
/// As [`Server::up`].
pub fn shared_url() -> Result<String> {
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => {
            let server = Server::open("postgres")?;
            server.up()?;
            Ok(server.url())
        }
    }
}
