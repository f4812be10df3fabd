//! The steps that read the code and run none of it.

use super::outcome::Outcome;
use crate::workspace::Workspace;

pub(crate) fn formatted(workspace: &Workspace) -> Outcome {
    check(workspace, "fmt --all --check", &[], "run `cargo fmt --all`")
}

pub(crate) fn linted(workspace: &Workspace) -> Outcome {
    let line = "clippy --quiet --workspace --all-targets --all-features -- -D warnings";
    check(workspace, line, &[], "its findings are above")
}

pub(crate) fn documented(workspace: &Workspace) -> Outcome {
    let line = "doc --quiet --workspace --no-deps --all-features";
    check(workspace, line, &[("RUSTDOCFLAGS", "-D warnings")], "its findings are above")
}

/// Runs one cargo command line, with its output in the terminal, and says what to do if it fails.
fn check(workspace: &Workspace, line: &str, variables: &[(&str, &str)], remedy: &str) -> Outcome {
    let status = workspace
        .cargo()
        .args(line.split(' '))
        .envs(variables.iter().copied())
        .status()
        .map_err(|error| format!("failed to start `cargo {line}`: {error}"));
    Outcome::of_one(status.and_then(|status| {
        if status.success() {
            Ok(String::new())
        } else {
            Err(format!("`cargo {line}` failed; {remedy}"))
        }
    }))
}
