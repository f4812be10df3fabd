//! The processes of one server: the postmaster and its children, with data and a port of their own.

use super::programs::program;
use super::{config, probe};
use crate::account::Account;
use crate::certificates::Certificates;
use crate::folder::{create, write};
use crate::process::{self, Process, Signal, bounded, output};
use crate::starting::Starting;
use crate::{Error, Result, State, ports};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The user of the Debian package.
const ACCOUNT: &str = "postgres";

const STOP_LIMIT: Duration = Duration::from_secs(30);

const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// What PostgreSQL calls a cluster: one postmaster with the databases in one folder.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// Lines of `postgresql.conf`.
    pub(crate) settings: Vec<(String, String)>,
    /// Those with which it offers TLS.
    pub(crate) certificates: Option<Certificates>,
    /// The port of the server that it begins as a copy of, and follows from then on.
    pub(crate) primary: Option<u16>,
}

impl Cluster {
    /// Starts it, unless its postmaster is there, and waits until it answers queries.
    pub(crate) fn start(&self) -> Result<()> {
        let starting = match self.postmaster() {
            Some(_) => Starting::by_others(),
            None => self.start_postmaster()?,
        };
        let Err(why) = starting.wait(|| probe::answers(self.port)) else { return Ok(()) };
        let (name, log) = (&self.name, self.log());
        let (told, log) = (process::end_of(&log), log.display());
        Err(Error::failed(format!(
            "failed to start {name}: {why}; see {log}, which ends with\n{told}"
        )))
    }

    pub(crate) fn state(&self) -> State {
        State::of(self.postmaster().as_ref(), || probe::answers(self.port))
    }

    /// Ends all sessions and stops; true shutdown, no recovery at the next start.
    pub(crate) fn stop(&self) -> Result<()> {
        if let Some(postmaster) = self.postmaster() {
            // SIGTERM would wait until all clients have gone.
            postmaster.stop(Signal::INT, STOP_LIMIT)?;
        }
        self.kill().map(drop)
    }

    /// Kills the postmaster and its children; true if any ran.
    pub(crate) fn kill(&self) -> Result<bool> {
        let postmaster = self.postmaster();
        // First, so that it does not see a child die and begin to recover.
        postmaster.as_ref().map_or(Ok(()), Process::kill)?;
        let mut any = postmaster.is_some();
        loop {
            let children = Process::every(|arguments| self.is_ours(arguments));
            if children.is_empty() {
                return Ok(any);
            }
            any = true;
            children.iter().try_for_each(Process::kill)?;
        }
    }

    /// What `psql` prints for these statements: rows in lines, with `|` between the columns.
    pub(crate) fn psql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = self.command(bounded(program("psql")?, TOOL_LIMIT), self.account()?);
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]);
        command.args(["--set=ON_ERROR_STOP=1", "--username=postgres", "--host=127.0.0.1"]);
        command.arg(format!("--port={}", self.port)).arg(format!("--dbname={database}"));
        command.args(["--command", statements]);
        output(command)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn start_postmaster(&self) -> Result<Starting> {
        // The children of a postmaster that has died alone keep its shared memory, and the next one out.
        self.kill()?;
        ports::require_free(&self.name, &[self.port])?;
        let account = self.account()?;
        create(&self.folder)?;
        let data = self.data();
        if !data.exists() {
            self.create_data(&data, account)?;
        }
        // None of ours is left, and a later process with the id in there is none of ours.
        remove(fs::remove_file(self.pid_file()), &self.pid_file())?;
        let tls = self.provide_tls(account)?;
        let settings: Vec<(&str, &str)> =
            tls.iter().chain(&self.settings).map(|(key, value)| (&**key, &**value)).collect();
        let (config, access) =
            (self.folder.join("postgresql.conf"), self.folder.join("pg_hba.conf"));
        write(&access, &config::access())?;
        write(&config, &config::text(self.port, &access, &settings))?;
        let mut postmaster = self.command(Command::new(program("postgres")?), account);
        postmaster.arg("-D").arg(&data);
        postmaster.args([OsStr::new("-c"), &option("config_file", &config)]);
        process::start(postmaster, &self.log()).map(Starting::ours)
    }

    /// What the server is told of TLS, if it offers that.
    fn provide_tls(&self, account: Option<Account>) -> Result<Vec<(String, String)>> {
        let Some(certificates) = &self.certificates else { return Ok(Vec::new()) };
        certificates.provide()?;
        if let Some(account) = account {
            let owned = account.owns(certificates.folder());
            owned.map_err(|error| Error::failed(format!("failed to hand over keys: {error}")))?;
        }
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok(vec![
            ("ssl".to_owned(), "on".to_owned()),
            ("ssl_cert_file".to_owned(), path(certificates.server())),
            ("ssl_key_file".to_owned(), path(certificates.server_key())),
        ])
    }

    /// Fills the folder of the data, which has its name only when it is whole.
    fn create_data(&self, data: &Path, account: Option<Account>) -> Result<()> {
        let unfinished = self.folder.join("data.new");
        remove(fs::remove_dir_all(&unfinished), &unfinished)?;
        create(&unfinished)?;
        let failed = |what, error| {
            Error::failed(format!("failed to {what} {}: {error}", unfinished.display()))
        };
        // It is refused where others may look into it.
        fs::set_permissions(&unfinished, Permissions::from_mode(0o700))
            .map_err(|error| failed("close", error))?;
        if let Some(account) = account {
            account.owns(&unfinished).map_err(|error| failed("hand over", error))?;
        }
        output(self.filling(&unfinished, account)?)?;
        fs::rename(&unfinished, data).map_err(|error| failed("rename", error))
    }

    /// What fills an empty folder: with the data of a new server, or with those of the primary. The servers of
    /// tests are many, and none is to outlive a loss of power.
    fn filling(&self, folder: &Path, account: Option<Account>) -> Result<Command> {
        let from = self.primary.map(|port| format!("--port={port}"));
        let (tool, arguments) = match &from {
            None => ("initdb", vec!["--encoding=UTF8", "--locale=C.UTF-8"]),
            Some(port) => {
                let follow =
                    ["--host=127.0.0.1", port, "--checkpoint=fast", "--write-recovery-conf"];
                ("pg_basebackup", follow.to_vec())
            }
        };
        let mut command = self.command(bounded(program(tool)?, TOOL_LIMIT), account);
        command.arg("-D").arg(folder).args(["--username=postgres", "--no-sync"]).args(arguments);
        Ok(command)
    }

    fn postmaster(&self) -> Option<Process> {
        Process::find(&self.pid_file(), &self.folder)
    }

    /// Whether a command line is that of the postmaster, of a child of it that is still like it, or of
    /// one that has its title. Another program may name the folder too.
    fn is_ours(&self, arguments: &[u8]) -> bool {
        let title = format!("postgres: {}: ", config::title(self.port));
        let mut words = arguments.split(|byte| *byte == 0);
        let is_postgres = words.next().is_some_and(|program| program.ends_with(b"/postgres"));
        let data = self.data();
        let data = data.as_os_str().as_bytes();
        arguments.starts_with(title.as_bytes()) || is_postgres && words.any(|word| word == data)
    }

    fn account(&self) -> Result<Option<Account>> {
        Account::of_root(ACCOUNT)
    }

    fn command(&self, mut command: Command, account: Option<Account>) -> Command {
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        command.current_dir(&self.folder);
        if let Some(account) = account {
            account.runs(&mut command);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }
}

/// `NAME=PATH`
fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push("=");
    option.push(path);
    option
}

/// What came of removing something that need not be there.
fn remove(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::failed(format!("failed to remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_postmaster_of_the_folder_and_children_with_its_title_are_ours() {
        let cluster = Cluster {
            name: "postgres".to_owned(),
            folder: "/target/services/postgres".into(),
            port: 20_000,
            settings: Vec::new(),
            certificates: None,
            primary: None,
        };
        let is_ours = |arguments: &str| cluster.is_ours(arguments.as_bytes());
        assert!(is_ours("/lib/15/bin/postgres\0-D\0/target/services/postgres/data\0-c\0x=y\0"));
        assert!(is_ours("postgres: tramline-20000: postgres test 127.0.0.1(40000) idle\0\0"));
        assert!(!is_ours("/lib/15/bin/postgres\0-D\0/target/services/postgres@a/data\0"));
        assert!(!is_ours("postgres: tramline-20001: checkpointer \0\0"));
        assert!(!is_ours("postgres: 15/main: postgres tramline-20000: [local] idle\0"));
        assert!(!is_ours("du\0-s\0/target/services/postgres/data\0"));
    }
}
