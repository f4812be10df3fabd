//! A server of a test's own, or of all tests.

use super::cluster::Cluster;
use super::probe;
use super::programs::PACKAGE;
use crate::catalog::Name;
use crate::certificates::Certificates;
use crate::compose::Project;
use crate::folder::Folder;
use crate::install::Package;
use crate::single::{self, Single};
use crate::{Install, Result, Service, State, Temporary, temporary};
use std::path::PathBuf;

/// A PostgreSQL server, set up but not necessarily running: dropping this changes nothing, and any
/// other process may have it too.
///
/// On loopback it trusts everybody, with the superuser `postgres`. Changes are on the disk when they
/// are committed (`fsync`), and `wal_level` is `logical`.
pub struct Server {
    folder: Folder,
    cluster: Cluster,
    package: Package,
}

impl Server {
    /// The server `postgres@INSTANCE` of this checkout, with data of its own. Its port is chosen now if
    /// it is new; it is not started.
    ///
    /// # Errors
    /// If `instance` is no word of small letters, digits and `-`, or its folder cannot be created.
    pub fn named(instance: &str) -> Result<Self> {
        Self::open(&Name::of(PACKAGE.kind, instance)?.service())
    }

    /// A server for one test alone, started with these lines of `postgresql.conf` beside ours, and
    /// removed with all its data when it is dropped.
    ///
    /// # Errors
    /// As [`up`](Self::up).
    pub fn temporary(word: &str, settings: &[(&str, &str)]) -> Result<Temporary<Self>> {
        Self::prepared(word, settings)?.begun()
    }

    /// The same with TLS beside plain connections; trust the [`ca`](Certificates::ca) of its certificates,
    /// which are answered too.
    ///
    /// # Errors
    /// As [`up`](Self::up), or if `openssl` is missing.
    pub fn temporary_with_tls(word: &str) -> Result<(Temporary<Self>, Certificates)> {
        let mut server = Self::prepared(word, &[])?;
        let certificates = Certificates::in_folder(server.folder.path().join("certificates"));
        server.cluster.certificates = Some(certificates.clone());
        Ok((server.begun()?, certificates))
    }

    /// A standby for one test alone: a copy of `primary` that follows it, and can only be read until somebody
    /// promotes it.
    ///
    /// # Errors
    /// As [`up`](Self::up), or if `primary` does not run.
    pub fn temporary_standby(word: &str, primary: &Self) -> Result<Temporary<Self>> {
        let mut server = Self::prepared(word, &[])?;
        server.cluster.primary = Some(primary.cluster.port);
        server.begun()
    }

    fn begun(self) -> Result<Temporary<Self>> {
        let server = Temporary::new(self);
        server.up()?;
        Ok(server)
    }

    fn prepared(word: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::open(&temporary(PACKAGE.kind, word)?.service())?;
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        server.cluster.settings = settings.iter().map(owned).collect();
        // A container has settings of its own.
        server.package.in_container = false;
        Ok(server)
    }

    pub(crate) fn open(name: &str) -> Result<Self> {
        let folder = Folder::named(name)?;
        let cluster = Cluster {
            name: name.to_owned(),
            folder: folder.path().to_owned(),
            port: folder.port_for(1)?,
            settings: Vec::new(),
            certificates: None,
            primary: None,
        };
        Ok(Self { folder, cluster, package: PACKAGE })
    }

    /// Sees to it that it runs and answers queries: the first time, and after each
    /// [`kill`](Self::kill) or [`down`](Self::down), on the same data and port. It installs nothing.
    ///
    /// # Errors
    /// [`Absent`](crate::Error::Absent) if PostgreSQL is not installed; otherwise why it does not start.
    pub fn up(&self) -> Result<()> {
        Service::up(self, Install::Never).map(drop)
    }

    /// SIGKILL for all its processes, at once; returns when they have ended.
    ///
    /// # Errors
    /// If a process cannot be signalled.
    pub fn kill(&self) -> Result<()> {
        Service::kill(self, None).map(drop)
    }

    /// Stops it as an operator would: sessions are ended, and what they have not committed is undone.
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

    /// `postgres://postgres@127.0.0.1:PORT/postgres`
    pub fn url(&self) -> String {
        Single::url(self)
    }

    /// What the server logs since it was last started, while it is a process of this machine.
    pub fn log(&self) -> PathBuf {
        self.cluster.log()
    }

    /// Runs statements by `psql` and returns what it prints: rows in lines, `|` between columns.
    ///
    /// # Errors
    /// If one fails, with what the server said.
    pub fn psql(&self, database: &str, statements: &str) -> Result<String> {
        self.cluster.psql(database, statements)
    }
}

impl Single for Server {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn port(&self) -> u16 {
        self.cluster.port
    }

    fn package(&self) -> &Package {
        &self.package
    }

    fn project(&self) -> Project {
        let variables = [("TRAMLINE_POSTGRES_PORT", self.cluster.port)];
        Project::new(self.folder.name(), PACKAGE.kind, &variables)
    }

    fn container_is_ready(&self) -> bool {
        probe::answers(self.cluster.port)
    }

    fn process_state(&self) -> State {
        self.cluster.state()
    }

    fn start(&self) -> Result<()> {
        self.cluster.start()
    }

    fn stop(&self) -> Result<()> {
        self.cluster.stop()
    }

    fn kill(&self) -> Result<bool> {
        self.cluster.kill()
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.cluster.port)
    }
}
