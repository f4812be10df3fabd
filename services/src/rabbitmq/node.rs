//! One node: a process of this machine with data, ports and settings of its own.

use super::config::{self, Files, Ports};
use super::management::Management;
use crate::account::Account;
use crate::certificates::Certificates;
use crate::folder::{create, write, write_secret};
use crate::install::Package;
use crate::process::{self, Process, Signal, bounded, output};
use crate::starting::{LOOK_EVERY, Starting};
use crate::{Error, Result, State, ports};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The scripts themselves: those in the PATH change to the user rabbitmq and to the system's files.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

const STOP_LIMIT: Duration = Duration::from_secs(30);

const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// It brings `openssl` too.
pub(crate) const PACKAGE: Package = Package {
    kind: "rabbitmq",
    name: "rabbitmq-server",
    program: PROGRAM,
    is_installed: || Path::new(PROGRAM).exists(),
    meanwhile: None,
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

impl Node {
    /// Starts the node, unless its process is there.
    pub(crate) fn start(&self, settings: &[(String, String)], cookie: &str) -> Result<Starting> {
        if self.process().is_some() {
            return Ok(Starting::by_others());
        }
        ports::require_free(&self.name, &self.ports.all())?;
        let account = Account::of_root("rabbitmq")?;
        self.prepare(settings, cookie, account)?;
        self.start_name_server(account)?;
        let server = self.command(Command::new(PROGRAM), account);
        process::start(server, &self.files.printed()).map(Starting::ours)
    }

    /// Waits until the node serves clients. One that does not is killed, if it was started here.
    pub(crate) fn wait(&self, starting: Starting) -> Result<()> {
        let Err(why) = starting.wait(|| self.is_ready()) else { return Ok(()) };
        let (told, log) = (process::told_by(&self.files.printed()), self.files.log());
        let (name, log) = (&self.name, log.display());
        Err(Error::failed(format!("failed to start {name}: {why}; see {log}, and\n{told}")))
    }

    /// The node's process, if it runs.
    pub(crate) fn process(&self) -> Option<Process> {
        Process::find(&self.files.pid(), self.files.folder())
    }

    pub(crate) fn state(&self) -> State {
        State::of(self.process().as_ref(), || self.is_ready())
    }

    /// True if it ran.
    pub(crate) fn kill(&self) -> Result<bool> {
        self.process().map_or(Ok(false), |process| process.kill().map(|()| true))
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.process().map_or(Ok(()), |process| process.stop(Signal::TERM, STOP_LIMIT))
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
        listens(self.ports, self.ports.amqp)
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

/// Whether the broker says that it listens on this port of its own.
pub(crate) fn listens(ports: Ports, port: u16) -> bool {
    // Refused at once while nothing listens, so the long limit of a request costs no time.
    let path = format!("/api/health/checks/port-listener/{port}");
    Management::on_loopback(ports).ask("GET", &path, "").is_ok_and(|answer| answer.status == 200)
}
