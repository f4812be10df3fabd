//! The broker that orders go through, as the tables know it.

use super::Tally;
use tramline::core::store::{DatabaseId, Store};
use tramline::{Failure, Postgres, Sqlite};

/// A broker: its name, and what it counts if it is a database other than that of the tables.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    name: String,
    counts: Option<Counts>,
}

#[derive(Clone, Debug)]
enum Counts {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Broker {
    /// The broker that `url` names, for tables that are in the database `here`.
    pub(super) async fn open(url: &str, here: &DatabaseId) -> Result<Self, Failure> {
        let (name, there, counts) = if url.starts_with("sqlite:") {
            let file = Sqlite::from_url(url).await?;
            let there = Store::database(&file);
            (there.to_string(), there, Counts::Sqlite(file))
        } else if url.starts_with("postgres") {
            let postgres = Postgres::connect(url).await?;
            (server(url), Store::database(&postgres), Counts::Postgres(postgres))
        } else {
            return Ok(Self { name: server(url), counts: None });
        };
        Ok(if there == *here {
            Self { name: "the database itself".to_owned(), counts: None }
        } else {
            Self { name, counts: Some(counts) }
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What has been counted there and not in the database of the tables.
    pub(super) async fn tally(&self) -> Result<Tally, Failure> {
        Ok(match &self.counts {
            Some(Counts::Sqlite(file)) => file.tally().await?.into(),
            Some(Counts::Postgres(postgres)) => postgres.tally().await?.into(),
            None => Tally::default(),
        })
    }
}

/// The server in a URL, without whoever connects to it: passwords change, and are not for tables.
pub(crate) fn server(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_where_it_is_and_not_by_who_connects() {
        for (url, name) in [
            ("amqp://u:p@broker:5672/shop?heartbeat=5", "amqp://broker:5672/shop"),
            ("amqps://broker/%2f", "amqps://broker/%2f"),
            ("postgres://u:p@db:5432/shop?application_name=x", "postgres://db:5432/shop"),
            ("memory:", "memory:"),
        ] {
            assert_eq!(server(url), name);
        }
    }
}
