//! Where the server is, and as whom to speak to it.

use std::fmt;
use std::str::FromStr;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tramline_core::{Error, ErrorKind, Result};

/// What a URL says.
#[derive(Clone)]
pub(crate) struct Target {
    /// For the connections of the driver.
    pub(crate) config: Config,
    /// For those of handlers.
    pub(crate) url: String,
}

impl Target {
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: it is no URL of PostgreSQL.
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
        let mut config = Config::from_str(url).map_err(|error| bad(&error.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(bad("it names no host"));
        }
        if config.get_application_name().is_none() {
            config.application_name("tramline");
        }
        Ok(Self { config, url: url.to_owned() })
    }
}

/// Without the password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match host {
                Host::Tcp(host) => write!(f, "{comma}{host}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            if let Some(port) = ports.get(index).or_else(|| ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
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
        for url in ["postgres://bus:s3cret@:x/orders", "mysql://bus:s3cret@db/orders"] {
            let refused = Target::parse(url).unwrap_err().to_string();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
