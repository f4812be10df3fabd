//! One node: a process of this machine with data, ports and settings of its own.

use super::certificates::Certificates;
use super::config::{self, Files, Ports};
use super::management::Management;
use crate::account::Account;
use crate::folder::{create, write, write_secret};
use crate::install::Package;
use crate::process::{self, Process, bounded, output};
use crate::{Error, Result, State, ports};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The scripts themselves: those in the PATH change to the user rabbitmq and to the system's files.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// On a machine that is busy with other things.
const READY_LIMIT: Duration = Duration::from_secs(180);

const STOP_LIMIT: Duration = Duration::from_secs(30);

const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// How often one that starts is asked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// It brings `openssl` too.
pub(crate) const PACKAGE: Package = Package {
    kind: "rabbitmq",
    name: "rabbitmq-server",
    program: "/usr/lib/rabbitmq/bin/rabbitmq-server",
    in_container: true,
};

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) files: Files,
    pub(crate) ports: Ports,
    /// The port of the name server that the nodes of this service share.
    pub(crate) epmd: u16,
    pub(crate) certificates: Certificates,
    /// All nodes of the cluster, or none for one that is alone.
    pub(crate) cluster: Vec<Ports>,
}

/// A node on its way up; without a process of ours if it was started by somebody else.
pub(crate) struct Starting(Option<Child>);

impl Node {
    /// Starts the node, unless its process is there.
    pub(crate) fn start(&self, settings: &[(String, String)], cookie: &str) -> Result<Starting> {
        if self.process().is_some() {
            return Ok(Starting(None));
        }
        if let Some(port) = ports::taken(&self.ports.all()) {
            return Err(Error::failed(format!(
                "failed to start {name}: its port {port} is taken by another program; end that, or let \
                 `cargo xtask services down --wipe {name}` forget the data and choose other ports",
                name = self.name
            )));
        }
        let account = Account::of_root("rabbitmq")?;
        self.prepare(settings, cookie, account)?;
        self.start_name_server(account)?;
        let server = self.command(Command::new(format!("{PROGRAMS}/rabbitmq-server")), account);
        process::start(server, &self.files.printed()).map(|child| Starting(Some(child)))
    }

    /// Waits until the node serves clients. One that does not is killed, if it was started here.
    pub(crate) fn wait(&self, starting: Starting) -> Result<()> {
        let Starting(mut child) = starting;
        let deadline = Instant::now() + READY_LIMIT;
        let why = loop {
            if self.is_ready() {
                if let Some(child) = child {
                    process::release(child);
                }
                return Ok(());
            }
            if child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                break "it ended by itself".to_owned();
            }
            if Instant::now() >= deadline {
                break format!("it was not ready within {} s", READY_LIMIT.as_secs());
            }
            std::thread::sleep(LOOK_EVERY);
        };
        if let Some(child) = child {
            process::abandon(child);
        }
        let (told, log) = (process::told_by(&self.files.printed()), self.files.log());
        let (name, log) = (&self.name, log.display());
        Err(Error::failed(format!("failed to start {name}: {why}; see {log}, and\n{told}")))
    }

    /// The node's process, if it runs.
    pub(crate) fn process(&self) -> Option<Process> {
        Process::find(&self.files.pid(), self.files.folder())
    }

    pub(crate) fn state(&self) -> State {
        match self.process() {
            None => State::Stopped,
            Some(process) if self.is_ready() => State::Up(Some(process.id())),
            Some(process) => State::NotReady(Some(process.id())),
        }
    }

    pub(crate) fn kill(&self) -> Result<()> {
        self.process().map_or(Ok(()), |process| process.kill())
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.process().map_or(Ok(()), |process| process.stop(STOP_LIMIT))
    }

    /// Ends the name server, which outlives the nodes.
    pub(crate) fn stop_name_server(&self) -> Result<()> {
        if !self.name_server_listens() {
            return Ok(());
        }
        let mut command = self.command(bounded("epmd", TOOL_LIMIT), Account::of_root("rabbitmq")?);
        command.arg("-kill");
        output(command).map(drop)
    }

    /// Runs `rabbitmqctl` for this node.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let tool = bounded(format!("{PROGRAMS}/rabbitmqctl"), TOOL_LIMIT);
        let mut command = self.command(tool, Account::of_root("rabbitmq")?);
        command.args(arguments);
        output(command)
    }

    fn is_ready(&self) -> bool {
        let port = self.ports.amqp;
        // Refused at once while nothing listens, so the long limit of a request costs no time.
        let path = format!("/api/health/checks/port-listener/{port}");
        Management::on_loopback(self.ports)
            .ask("GET", &path, "")
            .is_ok_and(|answer| answer.status == 200)
    }

    fn name_server_listens(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.epmd)).is_ok()
    }

    /// A name server of our own, before a node starts one on all addresses for everybody.
    fn start_name_server(&self, account: Option<Account>) -> Result<()> {
        let mut command = self.command(bounded("epmd", TOOL_LIMIT), account);
        command.arg("-daemon");
        output(command)?;
        let deadline = Instant::now() + TOOL_LIMIT;
        while !self.name_server_listens() {
            if Instant::now() >= deadline {
                return Err(Error::failed(format!("failed to start epmd on port {}", self.epmd)));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn prepare(
        &self,
        settings: &[(String, String)],
        cookie: &str,
        account: Option<Account>,
    ) -> Result<()> {
        self.certificates.provide()?;
        let files = &self.files;
        create(files.folder())?;
        for folder in files.written() {
            create(&folder)?;
        }
        if !files.cookie().exists() {
            write_secret(&files.cookie(), cookie)?;
        }
        let config = config::text(self.ports, &self.certificates, &self.cluster, settings);
        write(&files.config(), &config)?;
        write(&files.plugins(), "[rabbitmq_management].\n")?;
        write(&files.folder().join("rabbitmq-env.conf"), "")?;
        write(&files.folder().join("advanced.config"), config::ADVANCED)?;
        let Some(account) = account else { return Ok(()) };
        for folder in
            files.written().iter().map(PathBuf::as_path).chain([self.certificates.folder()])
        {
            account.owns(folder).map_err(|error| {
                Error::failed(format!("failed to hand {} over: {error}", folder.display()))
            })?;
        }
        Ok(())
    }

    fn command(&self, mut command: Command, account: Option<Account>) -> Command {
        command.env_clear().envs(self.files.environment(self.ports, self.epmd));
        command.current_dir(self.files.folder());
        if let Some(account) = account {
            account.runs(&mut command);
        }
        command
    }
}
