//! The command line, and what it comes to.

use crate::trouble::Trouble;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An order service on Tramline: it places 69,659 real orders with itself over HTTP, has them
/// charged, packed, mailed and counted by workers, and reconciles the result to the cent.
///
/// Exit code: 0 if everything reconciles; 1 if it does not, or the run ended before; 2 if the same
/// again cannot help: the command line or what it names is wrong, or a newer program has changed
/// the files.
#[derive(Clone, Debug, Parser)]
#[command(name = "orders", version)]
pub(crate) struct CommandLine {
    /// The message bus: `memory:`, `sqlite:FILE`, `amqp://USER:PASSWORD@HOST/VHOST` or
    /// `postgres://USER:PASSWORD@HOST/DATABASE` [default: the database]
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// The business tables: `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`
    /// [default: orders.db in the data directory]
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Where the files are; the same one again goes on where it was [default: a new one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The orders to place: CSV, gzipped or not [default: the shipped ones]
    #[arg(long, value_name = "FILE")]
    pub(crate) orders: Option<PathBuf>,
    /// Places only the first N of them
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Worker processes [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) workers: Option<u8>,
    /// Where the HTTP API listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Ends after the report
    #[arg(long)]
    pub(crate) exit: bool,
    /// Writes the report as JSON too
    #[arg(long, value_name = "FILE.json")]
    pub(crate) report: Option<PathBuf>,
    /// Kills workers with SIGKILL meanwhile, ten times or more
    #[arg(long)]
    pub(crate) chaos: bool,
    /// Has the chaos kill a server too, five times, the broker or the database: that of this name
    /// which `cargo xtask services` has started
    #[arg(long, value_name = "SERVICE", requires = "chaos")]
    pub(crate) chaos_broker: Option<String>,
    /// Replays the kills of another run [default: drawn and printed]
    #[arg(long, value_name = "N", requires = "chaos")]
    pub(crate) seed: Option<u64>,
    /// Runs the endpoints only, for a parent that holds our standard input open.
    #[arg(long, hide = true, requires_all = ["broker", "database"])]
    pub(crate) worker: bool,
}

const WORKERS_DEFAULT: u8 = 2;

/// Where the endpoints run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// In so many processes of their own.
    Processes(u8),
    /// In the one process that there is: a bus in memory reaches no other.
    Here,
}

impl CommandLine {
    /// Refuses early what cannot work.
    pub(crate) fn check(&self) -> Result<Workers, Trouble> {
        self.check_urls()?;
        if let Some(report) = &self.report {
            let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty());
            if report.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
                let text =
                    format!("failed to write {}: it is no file in a folder", report.display());
                return Err(Trouble::permanent(text));
            }
        }
        if self.broker.as_deref() != Some("memory:") {
            return Ok(Workers::Processes(self.workers.unwrap_or(WORKERS_DEFAULT)));
        }
        for (given, option) in [(self.workers.is_some(), "--workers"), (self.chaos, "--chaos")] {
            if given {
                return Err(Trouble::permanent(format!(
                    "{option} needs worker processes, and a bus in memory reaches none: leave out \
                     {option} or --broker memory:"
                )));
            }
        }
        Ok(Workers::Here)
    }

    fn check_urls(&self) -> Result<(), Trouble> {
        if let Some(url) = &self.database
            && !begins(url, &["sqlite:", "postgres:", "postgresql:"])
        {
            return Err(unknown("database", url, "`sqlite:FILE` and `postgres:`"));
        }
        if let Some(url) = &self.broker
            && url != "memory:"
            && !begins(url, &["sqlite:", "amqp:", "amqps:", "postgres:", "postgresql:"])
        {
            let known = "`memory:`, `sqlite:FILE`, `amqp:`, `amqps:` and `postgres:`";
            return Err(unknown("broker", url, known));
        }
        let mut urls = self.broker.iter().chain(&self.database);
        let has_server = urls.any(|url| begins(url, &["amqp", "postgres"]));
        if self.chaos_broker.is_some() && !has_server {
            return Err(Trouble::permanent(
                "--chaos-broker needs a broker or a database that is a server: say --broker amqp://… or \
                 --database postgres://…",
            ));
        }
        Ok(())
    }
}

fn begins(url: &str, with: &[&str]) -> bool {
    with.iter().any(|scheme| url.starts_with(scheme))
}

/// The scheme alone is named: the rest of a URL may hold a password.
fn unknown(what: &str, url: &str, known: &str) -> Trouble {
    let named = match url.split_once(':') {
        Some(("memory", rest)) => format!("memory:{rest}"),
        Some((scheme, _)) => format!("{scheme}:…"),
        None => url.to_owned(),
    };
    Trouble::permanent(format!("--{what} {named} is not known here; known: {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(arguments: &[&str]) -> Result<Workers, String> {
        let line = CommandLine::try_parse_from([&["orders"], arguments].concat());
        let line = line.map_err(|error| error.to_string())?;
        line.check().map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn two_worker_processes_run_unless_said_otherwise() {
        assert_eq!(checked(&[]), Ok(Workers::Processes(2)));
        assert_eq!(
            checked(&["--workers", "3", "--chaos", "--seed", "7"]),
            Ok(Workers::Processes(3))
        );
        assert_eq!(checked(&["--broker", "memory:"]), Ok(Workers::Here));
        let broker = ["--broker", "amqp://localhost/orders"];
        let chaos = ["--chaos", "--chaos-broker", "rabbitmq"];
        assert_eq!(checked(&[&broker[..], &chaos].concat()), Ok(Workers::Processes(2)));
        let database = ["--database", "postgres://localhost/orders"];
        assert_eq!(checked(&[&database[..], &chaos].concat()), Ok(Workers::Processes(2)));
    }

    #[test]
    fn what_cannot_work_together_is_refused_with_the_reason() {
        for (arguments, part) in [
            (&["--broker", "memory:", "--workers", "2"][..], "--workers needs worker processes"),
            (&["--broker", "memory:", "--chaos"], "--chaos needs worker processes"),
            (&["--seed", "7"], "--chaos"),
            (&["--chaos-broker", "rabbitmq"], "--chaos"),
            (
                &["--chaos", "--chaos-broker", "rabbitmq"],
                "needs a broker or a database that is a server",
            ),
            (&["--workers", "0"], "0 is not in 1..=16"),
            (&["--database", "mysql://u:secret@h/d"], "mysql:… is not known"),
            (&["--database", "memory:"], "memory: is not known here; known: `sqlite:FILE` and"),
            (
                &["--broker", "kafka:x"],
                "kafka:… is not known here; known: `memory:`, `sqlite:FILE`, `amqp:`,",
            ),
            (&["--broker", "memory:x"], "memory:x is not known"),
            (&["--broker", "orders.db"], "orders.db is not known"),
            (&["--report", "/nowhere/at/all.json"], "all.json: it is no file in a folder"),
            (&["--listen", "here"], "invalid socket address"),
        ] {
            let error = checked(arguments).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{arguments:?}: {error}");
        }
    }
}
