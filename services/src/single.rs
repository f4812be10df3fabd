//! What servers without members have in common: each is one process of this machine, with helpers and
//! children, or else one container.

use crate::compose::Project;
use crate::folder::{Folder, write};
use crate::install::{Host, Package};
use crate::{Error, Install, Member, Result, Service, State};
use std::path::PathBuf;

/// A server without members; what it can do follows from this.
pub(crate) trait Single {
    fn folder(&self) -> &Folder;

    /// The first of its ports.
    fn port(&self) -> u16;

    fn package(&self) -> &Package;

    /// The container, for a machine without the package.
    fn project(&self) -> Project;

    /// Whether the server in the container serves clients.
    fn container_is_ready(&self) -> bool;

    /// How its process on this machine is.
    fn process_state(&self) -> State;

    /// Starts it as a process of this machine and waits until it serves clients.
    fn start(&self) -> Result<()>;

    /// Stops its process as an operator would.
    fn stop(&self) -> Result<()>;

    /// Kills its process with all children; true if any ran.
    fn kill(&self) -> Result<bool>;

    /// Ends what may outlive its process.
    fn end_helpers(&self) -> Result<()> {
        Ok(())
    }

    fn url(&self) -> String;
}

impl<S: Single> Service for S {
    fn up(&self, install: Install) -> Result<bool> {
        let _lock = self.folder().lock()?;
        if matches!(state(self), State::Up(_)) {
            return Ok(false);
        }
        self.folder().keep(self.port())?;
        let host =
            if is_container(self) { Host::Container } else { self.package().provide(install)? };
        match host {
            Host::Container => {
                let project = self.project();
                // One that cannot be started, as when its image cannot be pulled, is absent.
                project.up().map_err(|error| self.package().unobtainable(&error))?;
                project.wait(|| self.container_is_ready())?;
                write(&mark(self), "")?;
            }
            Host::Machine => self.start()?,
        }
        Ok(true)
    }

    fn down(&self) -> Result<()> {
        let _lock = self.folder().lock()?;
        if is_container(self) {
            return self.project().stop();
        }
        self.stop()?;
        self.end_helpers()
    }

    fn kill(&self, member: Option<usize>) -> Result<bool> {
        if let Some(member) = member {
            let name = self.folder().name();
            return Err(Error::failed(format!("{name} is no cluster and has no member {member}")));
        }
        if is_container(self) { self.project().kill() } else { Single::kill(self) }
    }

    fn wipe(&self) -> Result<()> {
        let lock = self.folder().lock()?;
        if is_container(self) {
            self.project().remove()?;
        } else {
            Single::kill(self)?;
            self.end_helpers()?;
        }
        self.folder().remove(lock)
    }

    fn status(&self) -> Vec<Member> {
        let name = self.folder().name().to_owned();
        vec![Member { name, state: state(self), url: self.url() }]
    }

    fn urls(&self) -> String {
        self.url()
    }
}

/// How it is now, wherever it runs.
pub(crate) fn state(server: &impl Single) -> State {
    if !is_container(server) {
        return server.process_state();
    }
    match server.project().runs() {
        Ok(true) if server.container_is_ready() => State::Up(None),
        Ok(true) => State::NotReady(None),
        Ok(false) | Err(_) => State::Stopped,
    }
}

fn is_container(server: &impl Single) -> bool {
    mark(server).exists()
}

/// The mark of a server that was started in a container, and stays there.
fn mark(server: &impl Single) -> PathBuf {
    server.folder().path().join("container")
}
