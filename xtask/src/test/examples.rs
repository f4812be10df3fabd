//! Every example of the `tramline` crate, built once and then run one after the other.

use super::outcome::{Counts, Outcome};
use super::servers::variable;
use super::timed_run;
use crate::workspace::{Program, Workspace};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs each example; it must end by itself, in time and with exit code 0.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let ready = discover(&workspace.root().join("tramline/examples")).and_then(|names| {
        let selection = ["--package", "tramline", "--all-features", "--examples"];
        Ok((names, workspace.build(&selection)?))
    });
    match ready {
        Ok((names, programs)) => run_all(&names, &programs, workspace),
        Err(failure) => Outcome::of_tests(Counts::default(), Some(failure)),
    }
}

/// The server that an example needs.
const NEEDS: &[(&str, &str)] = &[
    ("6-rabbitmq", "rabbitmq"),
    ("7-existing-topology", "rabbitmq"),
    ("9-outbox-postgres", "postgres"),
];

fn run_all(names: &[String], programs: &[Program], workspace: &Workspace) -> Outcome {
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for name in names {
        let needed = NEEDS.iter().find(|(example, _)| example == name);
        if let Some((_, server)) = needed.filter(|(_, kind)| !workspace.is_told(&variable(kind))) {
            println!("    {name} skipped: there is no {server}");
            counts.skipped += 1;
            continue;
        }
        match run_one(name, programs, workspace) {
            Ok(()) => {
                println!("    {name} passed");
                counts.passed += 1;
            }
            Err(failure) => {
                println!("    {name} FAILED: {failure}");
                counts.failed += 1;
                failures.push(format!("{name} {failure}"));
            }
        }
    }
    Outcome::of_tests(counts, (!failures.is_empty()).then(|| failures.join("\n")))
}

/// Runs one example in an empty folder, so that the files it writes are not left in the tree.
fn run_one(name: &str, programs: &[Program], workspace: &Workspace) -> Result<(), String> {
    let program = programs
        .iter()
        .find(|program| program.name == name)
        .ok_or("was not built, even with --all-features; check its `required-features`")?;
    let folder = tempfile::tempdir()
        .map_err(|error| format!("failed to create a folder to run in: {error}"))?;
    let mut command = Command::new(&program.path);
    command.current_dir(folder.path()).envs(workspace.told());
    timed_run::run(command, &folder.path().join("output.log"), LIMIT)
}

/// The names of the examples in a folder, in their order; none is an error.
fn discover(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("failed to list {}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(format!("{} holds no example", folder.display()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn examples_are_discovered_from_their_folder_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["02_retry.rs", "01_publish.rs", "notes.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(discover(folder.path()).unwrap(), ["01_publish", "02_retry"]);
    }

    #[test]
    fn a_folder_without_an_example_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(discover(folder.path()).unwrap_err().contains("holds no example"));
        assert!(discover(&folder.path().join("none")).unwrap_err().contains("failed to list"));
    }

    #[test]
    fn each_failing_example_is_told_and_the_others_still_run() {
        let program = |name: &str, path: &str| Program { name: name.into(), path: path.into() };
        let programs = [program("01_bad", "false"), program("02_good", "true")];
        let names = ["01_bad", "02_good", "03_unbuilt"].map(String::from);
        let outcome = run_all(&names, &programs, &Workspace::here().unwrap());
        assert_eq!(outcome.tests, Some(Counts { passed: 1, failed: 2, skipped: 0 }));
        assert!(outcome.detail.contains("01_bad ended with exit status: 1"), "{}", outcome.detail);
        assert!(outcome.detail.contains("03_unbuilt was not built"), "{}", outcome.detail);
    }

    #[test]
    fn an_example_without_its_server_is_skipped_and_with_it_not() {
        let name = NEEDS[0].0;
        let programs = [Program { name: name.into(), path: "true".into() }];
        let mut workspace = Workspace::here().unwrap();
        let variable = variable(NEEDS[0].1);
        let skipped = u64::from(!workspace.is_told(&variable));
        let ran = |workspace: &Workspace| run_all(&[name.to_owned()], &programs, workspace).tests;
        let counts = Counts { passed: 1 - skipped, failed: 0, skipped };
        assert_eq!(ran(&workspace), Some(counts));
        workspace.tell(&variable, "amqp://there");
        assert_eq!(ran(&workspace), Some(Counts { passed: 1, failed: 0, skipped: 0 }));
    }
}
