//! The server of the scenarios, which nobody else uses.

use super::database::Database;
use crate::servers::until;
use rustix::process::{Pid, Signal, kill_process};
use std::ops::Deref;
use std::sync::Arc;
use tramline_services::postgres::Server as Instance;
use tramline_services::{State, Temporary};

/// A server that may be killed.
#[derive(Clone)]
pub(crate) struct Server(Arc<Held>);

enum Held {
    /// Gone with this program.
    Own(Temporary<Instance>),
    /// Somebody else's, who removes it.
    Given(Instance),
}

impl Deref for Held {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        match self {
            Self::Own(server) => server,
            Self::Given(server) => server,
        }
    }
}

/// How a server goes away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// SIGKILL for the postmaster and all back ends at once.
    Killed,
    /// As `pg_ctl stop -m immediate`: it ends without a checkpoint.
    Immediate,
    /// As `pg_ctl stop -m fast`: sessions are ended and what they do is undone.
    Fast,
}

impl Server {
    /// A new one, or that with this name.
    pub(crate) fn start(name: Option<&str>) -> Result<Self, String> {
        let held = match name {
            None => Instance::temporary("crash", &[]).map(Held::Own),
            Some(name) => Instance::named(name).and_then(|server| {
                server.up()?;
                Ok(Held::Given(server))
            }),
        };
        held.map(|held| Self(Arc::new(held))).map_err(|error| error.to_string())
    }

    /// A new database on it, with the tables of the bus; what was there of this name is gone.
    pub(crate) async fn database(&self, name: &str) -> Result<Database, String> {
        Database::create(&self.0.url(), name).await
    }

    /// Stops it; nothing of it runs when this ends.
    pub(crate) async fn stop(&self, how: Stop) -> Result<(), String> {
        match how {
            Stop::Killed => self.away(|server| server.kill()).await,
            Stop::Fast => self.away(|server| server.down()).await,
            Stop::Immediate => {
                if let State::Up(Some(postmaster)) = self.0.state() {
                    let postmaster = postmaster.try_into().ok().and_then(Pid::from_raw);
                    let postmaster = postmaster.ok_or("the postmaster has no process id")?;
                    kill_process(postmaster, Signal::QUIT).map_err(|error| error.to_string())?;
                }
                let has_ended = || matches!(self.0.state(), State::Stopped);
                until(has_ended, || "the server has not ended".to_owned()).await
            }
        }
    }

    /// Starts it again, on the same data.
    pub(crate) async fn up(&self) -> Result<(), String> {
        self.away(|server| server.up()).await
    }

    /// What takes its time must not hold up those who share the runtime.
    async fn away(
        &self,
        act: impl FnOnce(&Instance) -> tramline_services::Result<()> + Send + 'static,
    ) -> Result<(), String> {
        let held = self.0.clone();
        let acted = tokio::task::spawn_blocking(move || act(&held)).await;
        acted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}
