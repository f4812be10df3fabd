//! The peer: the crate `apalis-postgres`, in a program of its own, because it has dependencies that
//! nothing else here needs.

use super::database::Database;
use crate::Result;
use crate::load::runtime;
use crate::round::Run;
use serde::Deserialize;
use std::cell::OnceCell;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program, built when it is first needed.
#[derive(Default)]
pub(super) struct Apalis(OnceCell<PathBuf>);

/// What it says at last.
#[derive(Deserialize)]
struct Told {
    /// Messages a second.
    rate: f64,
    /// Its processor time of each.
    cpu_micros: f64,
}

impl Apalis {
    pub(super) fn consume(
        &self,
        database: &Database,
        messages: u64,
        concurrency: usize,
    ) -> Result<Run> {
        if self.0.get().is_none() {
            // Nobody else sets it.
            let _ = self.0.set(build()?);
        }
        let program = self.0.get().ok_or("the program is not built")?;
        runtime()?.block_on(database.prepare())?;
        let mut child = Command::new(program)
            .args([&database.url, &messages.to_string(), &concurrency.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("the program has no output")?);
        let mut lines = output.lines();
        let mut line = || -> Result<String> {
            Ok(lines.next().ok_or("the program with apalis-postgres has failed")??)
        };
        // It has filled its queue, and begins when nothing more comes from here.
        let _is_ready = line()?;
        runtime()?.block_on(async { database.settle(&database.connect().await?).await })?;
        let meter = database.meter();
        drop(child.stdin.take());
        let told: Told = serde_json::from_str(&line()?)?;
        let run = meter.run(messages, vec![told.rate]);
        child.wait()?;
        Ok(Run { cpu_micros: told.cpu_micros, ..run })
    }
}

/// Builds it beside this program, as cargo built that.
fn build() -> Result<PathBuf> {
    let told = |name: &str| {
        env::var_os(name)
            .ok_or_else(|| format!("{name} is not set; start it as `cargo xtask bench`"))
    };
    let (cargo, folder) = (told("CARGO")?, told("CARGO_MANIFEST_DIR")?);
    let here = env::current_exe()?;
    let target = here.parent().and_then(Path::parent).ok_or("this program lies in no folder")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
    command.arg(Path::new(&folder).join("peer-apalis/Cargo.toml"));
    command.arg("--target-dir").arg(target);
    if !command.status()?.success() {
        return Err("failed to build the program with apalis-postgres".into());
    }
    Ok(target.join("release/tramline-peer-apalis"))
}
