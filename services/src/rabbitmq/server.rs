//! A broker of one node.

use super::certificates::Certificates;
use super::config::{self, Files, Ports};
use super::management::Management;
use super::node::{Node, PACKAGE};
use super::{container, url};
use crate::catalog::Name;
use crate::folder::{Folder, write};
use crate::install::{Host, Package};
use crate::{Error, Install, Member, Result, Service, State, Temporary, temporary};
use std::path::PathBuf;

/// A RabbitMQ of one node, set up but not necessarily running: dropping this changes nothing, and
/// any other process may have it too.
///
/// It has the user `guest` with the password `guest`, the management interface, and TLS with a
/// client's certificate by choice.
pub struct Server {
    folder: Folder,
    node: Node,
    settings: Vec<(String, String)>,
    package: Package,
}

impl Server {
    /// The server `rabbitmq@INSTANCE` of this checkout, with data of its own. Its ports are chosen
    /// now if it is new; it is not started.
    ///
    /// # Errors
    /// If `instance` is no word of small letters, digits and `-`, or its folder cannot be created.
    pub fn named(instance: &str) -> Result<Self> {
        Self::open(&Name::of(PACKAGE.kind, instance)?.service())
    }

    /// A server for one test alone, started with these lines of `rabbitmq.conf` beside ours, and
    /// removed with all its data when it is dropped.
    ///
    /// # Errors
    /// As [`up`](Self::up).
    pub fn temporary(word: &str, settings: &[(&str, &str)]) -> Result<Temporary<Self>> {
        let mut server = Self::open(&temporary(PACKAGE.kind, word)?.service())?;
        server.settings = config::settings(settings);
        // A container has settings and TLS of its own.
        server.package.in_container = false;
        let server = Temporary::new(server);
        server.up()?;
        Ok(server)
    }

    pub(crate) fn open(name: &str) -> Result<Self> {
        let folder = Folder::named(name)?;
        let amqp = folder.port_for(1)?;
        let node = Node {
            name: name.to_owned(),
            files: Files::new(folder.path().to_owned()),
            ports: Ports { amqp },
            epmd: amqp + 4,
            certificates: Certificates::in_folder(folder.path().join("certificates")),
            cluster: Vec::new(),
        };
        Ok(Self { folder, node, settings: Vec::new(), package: PACKAGE })
    }

    /// Sees to it that it runs and serves clients: the first time, and after each
    /// [`kill`](Self::kill) or [`down`](Self::down), on the same data and ports. It installs nothing.
    ///
    /// # Errors
    /// [`Absent`](Error::Absent) if RabbitMQ is not installed; otherwise why it does not start.
    pub fn up(&self) -> Result<()> {
        Service::up(self, Install::Never).map(drop)
    }

    /// SIGKILL, at once; returns when the process has ended.
    ///
    /// # Errors
    /// If the process cannot be signalled.
    pub fn kill(&self) -> Result<()> {
        Service::kill(self, None)
    }

    /// Stops it as an operator would, which takes some seconds; its data stay.
    ///
    /// # Errors
    /// If the process cannot be signalled.
    pub fn down(&self) -> Result<()> {
        Service::down(self)
    }

    /// Whether it runs now.
    pub fn state(&self) -> State {
        if self.is_container() {
            return container::state(&self.container(), self.node.ports);
        }
        self.node.state()
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f?management=…`
    pub fn url(&self) -> String {
        url::amqp(self.node.ports)
    }

    /// The same as `amqps://`; trust [`Certificates::ca`].
    pub fn amqps_url(&self) -> String {
        url::amqps(self.node.ports)
    }

    /// `http://guest:guest@127.0.0.1:PORT`
    pub fn management_url(&self) -> String {
        url::management(self.node.ports)
    }

    /// The certificates for TLS, which are made at the first start.
    pub fn certificates(&self) -> &Certificates {
        &self.node.certificates
    }

    /// What the server logs, while it is a process of this machine.
    pub fn log(&self) -> PathBuf {
        self.node.files.log()
    }

    /// Runs `rabbitmqctl` for this server and returns what it prints; takes a second or two.
    ///
    /// # Errors
    /// If it ends with an error, with what it said.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        self.node.ctl(arguments)
    }

    /// One request to the management interface, such as `("PUT", "/api/vhosts/mine", "")`; the body of
    /// its answer.
    ///
    /// # Errors
    /// If it does not answer within half a minute, or with a status that is not of success.
    pub fn manage(&self, method: &str, path: &str, body: &str) -> Result<String> {
        Management::on_loopback(self.node.ports).manage(method, path, body)
    }

    fn container(&self) -> crate::compose::Project {
        container::project(self.folder.name(), self.node.ports)
    }

    /// The mark of a server that was started in a container, and stays there.
    fn mark(&self) -> PathBuf {
        self.folder.path().join("container")
    }

    fn is_container(&self) -> bool {
        self.mark().exists()
    }
}

impl Service for Server {
    fn up(&self, install: Install) -> Result<bool> {
        let _lock = self.folder.lock()?;
        if matches!(self.state(), State::Up(_)) {
            return Ok(false);
        }
        self.folder.keep(self.node.ports.amqp)?;
        let host =
            if self.is_container() { Host::Container } else { self.package.provide(install)? };
        match host {
            Host::Container => {
                container::up(&self.container(), self.node.ports)?;
                write(&self.mark(), "")?;
            }
            Host::Machine => {
                let starting = self.node.start(&self.settings, &self.folder.secret()?)?;
                self.node.wait(starting)?;
            }
        }
        Ok(true)
    }

    fn down(&self) -> Result<()> {
        let _lock = self.folder.lock()?;
        if self.is_container() {
            return self.container().stop();
        }
        self.node.stop()?;
        self.node.stop_name_server()
    }

    fn kill(&self, member: Option<usize>) -> Result<()> {
        if let Some(member) = member {
            let name = self.folder.name();
            return Err(Error::failed(format!("{name} is no cluster and has no member {member}")));
        }
        if self.is_container() { self.container().kill() } else { self.node.kill() }
    }

    fn wipe(&self) -> Result<()> {
        let lock = self.folder.lock()?;
        if self.is_container() {
            self.container().remove()?;
        } else {
            self.node.kill()?;
            self.node.stop_name_server()?;
        }
        self.folder.remove(lock)
    }

    fn status(&self) -> Vec<Member> {
        let name = self.folder.name().to_owned();
        vec![Member { name, state: self.state(), url: self.url() }]
    }

    fn urls(&self) -> String {
        self.url()
    }
}
