//! The steps that read the code and run none of it. The fuzz targets are a workspace apart.

use super::outcome::Outcome;
use crate::workspace::Workspace;
use std::process::Command;

pub(crate) fn formatted(workspace: &Workspace) -> Outcome {
    let own = check(workspace.cargo(), "fmt --all --check", "run `cargo fmt --all`");
    let fuzz = || check(workspace.fuzz_cargo(), "fmt --check", "run `cargo fmt` in `fuzz`");
    Outcome::of_one(own.and_then(|_| fuzz()))
}

pub(crate) fn linted(workspace: &Workspace) -> Outcome {
    let own = "clippy --quiet --workspace --all-targets --all-features -- -D warnings";
    let own = check(workspace.cargo(), own, "its findings are above");
    let fuzz = "clippy --quiet --locked --no-default-features --all-targets -- -D warnings";
    let remedy = "its findings in `fuzz` are above";
    Outcome::of_one(own.and_then(|_| check(workspace.fuzz_cargo(), fuzz, remedy)))
}

pub(crate) fn documented(workspace: &Workspace) -> Outcome {
    let line = "doc --quiet --workspace --no-deps --all-features";
    let mut cargo = workspace.cargo();
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    Outcome::of_one(check(cargo, line, "its findings are above"))
}

/// Runs one cargo command line, with its output in the terminal, and says what to do if it fails.
fn check(mut cargo: Command, line: &str, remedy: &str) -> Result<String, String> {
    let status = cargo
        .args(line.split(' '))
        .status()
        .map_err(|error| format!("failed to start `cargo {line}`: {error}"))?;
    if status.success() {
        Ok(String::new())
    } else {
        Err(format!("`cargo {line}` failed; {remedy}"))
    }
}
