//! `cargo xtask fuzz`: the fuzz targets, one after the other, with libFuzzer.

use crate::workspace::{Workspace, exit_code};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};
use std::{fs, num::NonZeroU64};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which target; all of them when none is named
    #[arg(value_enum)]
    target: Option<Target>,
    /// How long each target runs
    #[arg(long, default_value = "10", value_name = "N")]
    minutes: NonZeroU64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// Headers of messages, as brokers deliver them
    Wire,
    /// Envelopes, histories and settings, as rows hold them
    Envelope,
    /// Names of queues and topics, ids, and what an inbox remembers
    Names,
    /// SQL filters, subject patterns and headers filters
    Filters,
    /// URLs of transports
    Urls,
    /// URLs of RabbitMQ: vhosts, clusters, options, and passwords in the wrong place
    RabbitmqUrls,
}

/// Runs the targets until one finds something, and ends with its exit code.
///
/// What a run finds worth keeping goes to `fuzz/corpus`, which git ignores; the seeds stay as they
/// are.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let workspace = Workspace::here()?;
    require_cargo_fuzz(&workspace)?;
    let fuzz = workspace.root().join("fuzz");
    let targets = arguments.target.as_ref().map_or(Target::value_variants(), std::slice::from_ref);
    for target in targets {
        let corpus = fuzz.join("corpus").join(target.name());
        fs::create_dir_all(&corpus)
            .map_err(|error| format!("failed to create {}: {error}", corpus.display()))?;
        let mut command = workspace.cargo();
        command.current_dir(&fuzz).args(target.line(arguments.minutes));
        let ended = exit_code(&mut command, target.name())?;
        if ended != ExitCode::SUCCESS {
            return Ok(ended);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn require_cargo_fuzz(workspace: &Workspace) -> Result<(), String> {
    let mut asked: Command = workspace.cargo();
    let asked = asked.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    match asked.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("cargo-fuzz is not there; install it with `cargo install cargo-fuzz`".to_owned()),
    }
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Envelope => "envelope",
            Self::Names => "names",
            Self::Filters => "filters",
            Self::Urls => "urls",
            Self::RabbitmqUrls => "rabbitmq-urls",
        }
    }

    /// The whole cargo command line. No sanitizer, because there is no `unsafe` to watch: so the
    /// stable compiler will do. One input may take ten seconds and two gigabytes.
    fn line(self, minutes: NonZeroU64) -> Vec<OsString> {
        let name = self.name();
        let seconds = minutes.get().saturating_mul(60);
        let line = [
            "fuzz".to_owned(),
            "run".to_owned(),
            "--sanitizer=none".to_owned(),
            name.to_owned(),
            format!("corpus/{name}"),
            format!("seeds/{name}"),
            "--".to_owned(),
            format!("-max_total_time={seconds}"),
            "-timeout=10".to_owned(),
            "-rss_limit_mb=2048".to_owned(),
        ];
        line.map(OsString::from).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn a_target_runs_on_its_seeds_for_its_minutes_and_keeps_what_it_finds_apart() {
        let line = Target::Wire.line(NonZeroU64::new(3).unwrap());
        assert_eq!(line[3..8], ["wire", "corpus/wire", "seeds/wire", "--", "-max_total_time=180"]);
    }

    #[test]
    fn every_target_has_its_program_and_its_seeds() {
        let fuzz = Workspace::here().unwrap().root().join("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for target in Target::value_variants().iter().map(|target| target.name()) {
            assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
            assert!(fuzz.join("targets").join(target).with_extension("rs").is_file(), "{target}");
            assert!(fs::read_dir(fuzz.join("seeds").join(target)).unwrap().count() > 5, "{target}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), Target::value_variants().len());
    }
}
