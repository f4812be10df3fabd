//! One run of the order service, from an empty data folder to a checked report.

use super::report::{self, Disturbance};
use crate::test::outcome::Outcome;
use crate::test::timed_run;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long one run may take before all its processes are killed.
pub(crate) const LIMIT: Duration = Duration::from_secs(900);

/// How often a chaos run must have killed a worker at least.
pub(super) const KILLS_MIN: u64 = 10;

pub(crate) fn plain(workspace: &Workspace) -> Outcome {
    built_and_run(workspace, &[], Disturbance::None)
}

pub(crate) fn chaos(workspace: &Workspace) -> Outcome {
    built_and_run(workspace, &["--chaos"], Disturbance::Kills { all: KILLS_MIN, brokers: 0 })
}

pub(crate) fn memory(workspace: &Workspace) -> Outcome {
    built_and_run(workspace, &["--broker", "memory:"], Disturbance::None)
}

pub(super) fn built_and_run(
    workspace: &Workspace,
    options: &[&str],
    disturbance: Disturbance,
) -> Outcome {
    let program = build(workspace);
    Outcome::of_one(program.and_then(|program| run(program, options, disturbance)))
}

fn run(program: PathBuf, options: &[&str], disturbance: Disturbance) -> Result<String, String> {
    let site = Site::new(program)?;
    timed_run::run(site.command(options), &site.log(), LIMIT)
        .map_err(|failure| format!("the order service {failure}"))?;
    site.check(disturbance)
}

/// Builds the order service as its users do, in release.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf, String> {
    let programs = workspace.build(&["--release", "--package", "orders"])?;
    let orders = programs.into_iter().find(|program| program.name == "orders");
    orders
        .map(|program| program.path)
        .ok_or_else(|| "the package `orders` has built no program named `orders`".to_owned())
}

/// A program with a temporary folder for its data, its report and its log.
pub(crate) struct Site {
    program: PathBuf,
    folder: TempDir,
}

impl Site {
    pub(crate) fn new(program: PathBuf) -> Result<Self, String> {
        let folder = tempfile::tempdir()
            .map_err(|error| format!("failed to create a data folder: {error}"))?;
        let site = Self { program, folder };
        std::fs::create_dir(site.data())
            .map_err(|error| format!("failed to create a data folder: {error}"))?;
        Ok(site)
    }

    /// The command line of a run that ends by itself and writes its report.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--exit").arg("--report").arg(self.report());
        command.arg("--data-dir").arg(self.data()).args(options);
        command
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("output.log")
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.folder.path().join("report.json")
    }

    /// Checks the report; when it is wrong, the run's own words are printed too.
    pub(crate) fn check(&self, disturbance: Disturbance) -> Result<String, String> {
        let checked = read(&self.report()).and_then(|text| report::check(&text, disturbance));
        if checked.is_err() {
            timed_run::show(&self.log());
        }
        checked
    }
}

fn read(report: &Path) -> Result<String, String> {
    std::fs::read_to_string(report)
        .map_err(|error| format!("the order service has left no report: {error}"))
}

/// A script that takes the order service's options and writes a sound report.
#[cfg(test)]
pub(crate) fn pretended() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells where xtask is");
    Path::new(&package).join("fixtures/orders.sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_reports_the_known_figures_passes() {
        assert_eq!(run(pretended(), &[], Disturbance::None), Ok("reconciled".to_owned()));
        assert!(
            run(pretended(), &["--chaos"], Disturbance::Kills { all: KILLS_MIN, brokers: 0 })
                .is_ok()
        );
    }

    #[test]
    fn a_run_that_was_not_disturbed_as_asked_fails() {
        let failure =
            run(pretended(), &[], Disturbance::Kills { all: KILLS_MIN, brokers: 0 }).unwrap_err();
        assert!(failure.contains("kills is 0, not 10 or more"), "{failure}");
    }

    #[test]
    fn a_run_that_ends_with_an_error_fails_with_its_exit_code() {
        let failure = run(pretended(), &["--fail"], Disturbance::None).unwrap_err();
        assert!(failure.contains("the order service ended with exit status: 3"), "{failure}");
    }

    #[test]
    fn a_run_that_leaves_no_report_fails() {
        let failure = run("true".into(), &[], Disturbance::None).unwrap_err();
        assert!(failure.contains("has left no report"), "{failure}");
    }
}
