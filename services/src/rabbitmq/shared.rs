//! The broker that tests have in common.

use super::Server;
use crate::Result;

/// Where tests, benches and examples are told of a broker to use.
const VARIABLE: &str = "TRAMLINE_RABBITMQ_URL";

/// The broker that `TRAMLINE_RABBITMQ_URL` names, or else `rabbitmq` of this checkout, started if it
/// is installed and does not run. It stays up, until `cargo xtask services down`.
///
/// Others use it at the same time: work in a vhost of your own, and do not kill it.
///
/// # Errors
/// As [`Server::up`].
pub fn shared_url() -> Result<String> {
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => {
            let server = Server::open("rabbitmq")?;
            server.up()?;
            Ok(server.url())
        }
    }
}
