//! Keeps the workspace in the shape that the design promises. Each test lists every offender.

mod decisions;
mod floors;
mod guarantees;
mod locks;
mod manifests;
mod sources;
mod tree;

use std::process::Command;
use tree::TextFile;

#[test]
fn every_dependency_points_down() {
    let output = Command::new(std::env::var_os("CARGO").expect("start it through cargo"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(tree::root())
        .output()
        .expect("failed to start `cargo metadata`");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo metadata` failed: {errors}");
    let packages = floors::packages(&output.stdout);
    assert!(packages.iter().any(|package| package.name == "xtask"), "found {packages:?}");
    none(floors::offenders(&packages), "move the shared part down, or the dependent up");
}

#[test]
fn no_rust_file_is_long() {
    none(sources::long_files(&files()), "split it by idea");
}

#[test]
fn no_rust_line_is_wide() {
    none(sources::wide_lines(&files()), "wrap it");
}

#[test]
fn lib_and_mod_files_only_map() {
    none(sources::items_in_maps(&files()), "move it to a file named after what it is");
}

#[test]
fn no_rust_file_holds_unfinished_work() {
    none(sources::unfinished(&files()), "finish it or take it out");
}

#[test]
fn every_crate_inherits_from_the_workspace() {
    none(manifests::offenders(&files()), "add the line to that Cargo.toml");
}

#[test]
fn decisions_are_numbered_without_a_gap_and_have_a_title() {
    none(decisions::offenders(&files()), "number and title it as docs/decisions/NNNN-title.md");
}

#[test]
fn every_test_that_shows_a_guarantee_is_there() {
    none(guarantees::offenders(&files()), "name the test that shows it now");
}

#[test]
fn what_is_fuzzed_is_what_is_shipped() {
    none(locks::offenders(&files()), "take the version that is shipped");
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    none(sources::machine_paths(&files()), "use a path relative to the workspace");
}

/// The files of the tree; the tests would pass on an empty list, so it must hold this very file.
fn files() -> Vec<TextFile> {
    let files = tree::files(&tree::root());
    let own = files.iter().any(|file| file.path == "xtask/tests/tidy/main.rs");
    assert!(own, "the list of {} files lacks this test; look at `tree::files`", files.len());
    files
}

/// Fails with the whole list, unless it is empty.
fn none(offenders: Vec<String>, remedy: &str) {
    let count = offenders.len();
    assert!(offenders.is_empty(), "{count} found; {remedy}:\n  {}", offenders.join("\n  "));
}
