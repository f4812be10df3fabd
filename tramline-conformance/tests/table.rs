//! The table of scenarios is complete: a scenario that is written but not listed tests nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_scenario_is_listed_exactly_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut written: Vec<String> = ["transport", "store"]
        .iter()
        .flat_map(|contract| sources(&root.join(contract)))
        .flat_map(|source| scenarios(&read(&source)))
        .collect();
    written.sort();
    let mut listed: Vec<String> = rows(&read(&root.join("suite.rs")));
    listed.sort();
    assert_eq!(listed, written);

    // Both suites can stand in one module of a driver's tests.
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    listed.iter().for_each(|name| *times.entry(name).or_default() += 1);
    times.retain(|_, times| *times > 1);
    assert_eq!(times, BTreeMap::new(), "scenarios of one name");
}

/// The names of the public asynchronous functions of a source.
fn scenarios(source: &str) -> Vec<String> {
    let functions = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
    functions.filter_map(|rest| rest.split('<').next()).map(str::to_owned).collect()
}

/// The lines of the table that are one name and a comma.
fn rows(table: &str) -> Vec<String> {
    let names = table.lines().filter_map(|line| line.trim().strip_suffix(','));
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    names.filter(is_name).map(str::to_owned).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of a contract's scenarios is there");
    entries.map(|entry| entry.expect("a file can be listed").path()).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source can be read")
}
