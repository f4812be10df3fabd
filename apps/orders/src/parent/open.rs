//! Everything that the service is made of, opened and closed in the order that it needs.

use crate::bus::{self, Role};
use crate::cli::{CommandLine, Workers};
use crate::clock::SharedClock;
use crate::data_dir::DataDir;
use crate::database::{Database, OrderBook, server};
use crate::http::{self, Service};
use crate::run::{Gauge, Site, refill};
use crate::terminal::say;
use crate::trouble::Trouble;
use crate::workers::{Supervisor, WorkerCommand};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tramline::core::clock::SystemEntropy;

/// How long handlers may take to finish in the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long clients may take to hear their last answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The service at work.
pub(super) struct Opened {
    pub(super) site: Site,
    server: JoinHandle<()>,
    stop_server: oneshot::Sender<()>,
}

impl Opened {
    /// Opens tables, workers, bus and API. The API comes last: whoever is answered can rely on
    /// everything behind it.
    pub(super) async fn open(
        line: &CommandLine,
        workers: Workers,
        data_dir: &DataDir,
        clock: SharedClock,
    ) -> Result<Self, Trouble> {
        let listener = http::listen(line.listen).map_err(|error| {
            Trouble::permanent(format!("failed to listen on {}: {error}", line.listen))
        })?;
        let address = reachable(listener.local_addr().map_err(Trouble::broken)?);
        let (broker, tables) = urls(line, data_dir)?;
        let database = Database::open(&tables).await.map_err(Trouble::of_opening)?;
        let bound = database.bind(&broker).await.map_err(Trouble::of_opening)?;
        let database = bound.map_err(|bound| {
            Trouble::permanent(format!(
                "the orders in {tables} go through {bound}, and --broker says {}: messages may \
                 wait there; use the same broker or another --data-dir",
                server(&broker)
            ))
        })?;
        let role = match workers {
            Workers::Here => Role::Handler,
            Workers::Processes(_) => Role::Publisher,
        };
        let bus = bus::connect(&broker, &database, clock.clone(), role).await;
        let bus = bus.map_err(Trouble::of_opening)?;
        let supervisor = match workers {
            Workers::Here => None,
            Workers::Processes(count) => {
                let command = WorkerCommand::new(&broker, &tables).map_err(Trouble::broken)?;
                Some(Supervisor::start(count, &command).await?)
            }
        };
        let bus = bus.start().await.map_err(Trouble::of_opening)?;
        if workers == Workers::Here {
            refill(&bus, &database).await.map_err(Trouble::of)?;
        }
        let service = Service {
            bus: bus.clone(),
            database: database.clone(),
            orders: OrderBook::new(&bus, &database, Arc::new(SystemEntropy)),
            clock: clock.clone(),
        };
        let (stop_server, stopped) = oneshot::channel();
        let stopped = async {
            // A sender that is gone is as good as a word.
            let _ = stopped.await;
        };
        let server = tokio::spawn(http::serve(listener, service, stopped));
        say(format_args!("listening on http://{address}"));
        let gauge = Gauge::of(&broker);
        let broker_service = line.chaos_broker.clone();
        let site = Site { bus, database, clock, address, supervisor, gauge, broker_service };
        Ok(Self { site, server, stop_server })
    }

    /// Stops what brings in work first, and what does it last.
    pub(super) async fn close(self) -> Result<(), Trouble> {
        let Self { site, server, stop_server } = self;
        // A server that has ended needs no word.
        let _ = stop_server.send(());
        if tokio::time::timeout(ANSWER_LIMIT, server).await.is_err() {
            tracing::warn!("some clients did not hear their answers in time");
        }
        if let Some(supervisor) = site.supervisor {
            supervisor.stop().await;
        }
        let _drained = site.bus.drain(DRAIN_LIMIT).await.map_err(Trouble::of)?;
        Ok(())
    }
}

/// Where the broker and the tables are: in one file, unless somebody says otherwise.
fn urls(line: &CommandLine, data_dir: &DataDir) -> Result<(String, String), Trouble> {
    let tables = match &line.database {
        Some(url) => url.clone(),
        None => data_dir.database_url()?,
    };
    Ok((line.broker.clone().unwrap_or_else(|| tables.clone()), tables))
}

/// An address that a client on this machine can connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_this_machines_own() {
        for (listens, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("127.0.0.2:80", "127.0.0.2:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
