//! Where the servers are, and as whom to speak to them.

use super::server::{each, place};
use super::tls::{Mode, Tls};
use super::url::Parts;
use parking_lot::Mutex;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tramline_core::{Error, ErrorKind, Result};

/// What a URL says.
pub(crate) struct Target {
    /// One at least.
    pub(super) servers: Vec<Config>,
    pub(crate) tls: Tls,
    at: Mutex<At>,
}

/// How long a server may leave unacknowledged what it was sent, unless the URL says otherwise.
const VANISHED: Duration = Duration::from_secs(15);

/// The server to which the last connection was made.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) index: usize,
    /// It was another one before that.
    pub(crate) since: Option<Instant>,
}

impl Target {
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: it is no URL of PostgreSQL, or a file that it names cannot be read.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let bad = |why: &str| {
            // What is no URL is not repeated: it may hold a password.
            Error::new(ErrorKind::Misconfigured, "read the URL of a PostgreSQL server").because(
                format!("{why}; it is written postgres://user:password@host:5432/database"),
            )
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(bad("it does not begin with postgres://"));
        }
        let Parts { rest, ssl_mode, ssl_root, chooses } = Parts::of(url);
        let mut config =
            Config::from_str(&rest).map_err(|error| bad(&crate::error::words(&error)))?;
        let tls = Tls::new(ssl_mode.as_deref(), ssl_root)?;
        let ssl = match tls.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        };
        if config.get_application_name().is_none() {
            config.application_name("tramline");
        }
        let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
        let ports = config.get_ports().len();
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return Err(bad("it has not as many addresses as hosts"));
        }
        let count = hosts.max(addresses);
        if count == 0 {
            return Err(bad("it names no host"));
        }
        if ports > 1 && ports != count {
            return Err(bad("it has not as many ports as hosts"));
        }
        if count > 1 && !chooses {
            // Only one of them can be the primary, and a bus always writes.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // A machine that vanishes says nothing: without these it would be waited for by the hour.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(VANISHED);
        }
        if !rest.contains("keepalives") {
            config
                .keepalives_idle(VANISHED)
                .keepalives_interval(VANISHED / 3)
                .keepalives_retries(3);
        }
        let at = At { index: 0, since: None };
        Ok(Self { servers: each(&config, ssl), tls, at: Mutex::new(at) })
    }

    /// The server to which the last connection was made.
    pub(crate) fn at(&self) -> At {
        *self.at.lock()
    }

    /// How to connect to the server at `index`.
    pub(crate) fn server(&self, index: usize) -> &Config {
        &self.servers[index]
    }

    /// A connection was made to the server at `index`.
    pub(super) fn is_at(&self, index: usize) {
        let mut at = self.at.lock();
        if at.index != index {
            *at = At { index, since: Some(Instant::now()) };
        }
    }
}

/// Without the password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let first = self.server(0);
        if let Some(user) = first.get_user() {
            write!(f, "{user}@")?;
        }
        let places: Vec<String> = self.servers.iter().map(place).collect();
        write!(f, "{}/{}", places.join(","), first.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let target = Target::parse("postgres://bus:s3cret@db.example:5433/orders").unwrap();
        assert_eq!(target.to_string(), "postgres://bus@db.example:5433/orders");
        assert_eq!(format!("{target:?}"), target.to_string());
        for url in [
            "postgres://bus:s3cret@:x/orders",
            "mysql://bus:s3cret@db/orders",
            "postgres://bus:s3cret@a,b/orders?hostaddr=127.0.0.1",
            "postgres://bus:s3cret@a/orders?sslmode=maybe",
        ] {
            let refused = Target::parse(url).unwrap_err().to_string();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn of_several_servers_the_one_that_may_be_written_to_is_meant() {
        let url = "postgres://bus@a:1,b:2/orders";
        let target = Target::parse(url).unwrap();
        assert_eq!(target.to_string(), url);
        let attrs = |target: &Target| target.server(1).get_target_session_attrs();
        assert_eq!(attrs(&target), TargetSessionAttrs::ReadWrite);
        let target = Target::parse(&format!("{url}?target_session_attrs=any")).unwrap();
        assert_eq!(attrs(&target), TargetSessionAttrs::Any);
    }
}
