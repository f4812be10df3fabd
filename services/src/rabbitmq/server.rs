//! A broker of one node.

use super::config::{self, Files, Ports};
use super::management::Management;
use super::node::{self, Node, PACKAGE};
use super::url;
use crate::catalog::Name;
use crate::certificates::Certificates;
use crate::compose::Project;
use crate::folder::Folder;
use crate::install::Package;
use crate::single::{self, Single};
use crate::{Install, Result, Service, State, Temporary, temporary};
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
    /// [`Absent`](crate::Error::Absent) if RabbitMQ is not installed; otherwise why it does not start.
    pub fn up(&self) -> Result<()> {
        Service::up(self, Install::Never).map(drop)
    }

    /// SIGKILL, at once; returns when the process has ended.
    ///
    /// # Errors
    /// If the process cannot be signalled.
    pub fn kill(&self) -> Result<()> {
        Service::kill(self, None).map(drop)
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
        single::state(self)
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f?management=…`
    pub fn url(&self) -> String {
        Single::url(self)
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
}

impl Single for Server {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn port(&self) -> u16 {
        self.node.ports.amqp
    }

    fn package(&self) -> &Package {
        &self.package
    }

    fn project(&self) -> Project {
        let ports = self.node.ports;
        let variables = [
            ("TRAMLINE_RABBITMQ_PORT", ports.amqp),
            ("TRAMLINE_RABBITMQ_MANAGEMENT_PORT", ports.management()),
        ];
        Project::new(self.folder.name(), "rabbitmq", &variables)
    }

    fn container_is_ready(&self) -> bool {
        // Inside it is the usual port.
        node::listens(self.node.ports, 5672)
    }

    fn process_state(&self) -> State {
        self.node.state()
    }

    fn start(&self) -> Result<()> {
        let starting = self.node.start(&self.settings, &self.folder.secret()?)?;
        self.node.wait(starting)
    }

    fn stop(&self) -> Result<()> {
        self.node.stop()
    }

    fn kill(&self) -> Result<bool> {
        self.node.kill()
    }

    fn end_helpers(&self) -> Result<()> {
        self.node.stop_name_server()
    }

    fn url(&self) -> String {
        url::amqp(self.node.ports)
    }
}
