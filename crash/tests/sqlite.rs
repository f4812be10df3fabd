//! A few rounds of `cargo xtask crash sqlite`, and a short soak.

use std::process::Command;

#[test]
fn nothing_is_lost_and_nothing_happens_twice_while_processes_are_killed_and_stopped() {
    let mut rounds = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
    rounds.args(["sqlite", "--rounds", "3", "--seed", "1"]);
    let output = rounds.output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{told}\n{faults}");
    assert!(told.contains("3 rounds") && told.contains("all sound"), "{told}");
}

#[test]
fn of_a_thousand_messages_taken_ahead_only_the_one_that_kills_is_a_dead_letter() {
    let mut round = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
    round.args(["sqlite", "--poison", "--rounds", "1", "--seed", "1"]);
    let output = round.output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{told}\n{faults}");
    assert!(told.contains("25 kills"), "{told}");
}

#[test]
fn a_short_soak_loses_nothing_and_leaves_nothing_in_the_queues_nor_a_long_log() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("soak.json");
    let mut soak = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
    soak.args(["sqlite", "--soak", "8s", "--rate", "30", "--seed", "2", "--json"]).arg(&json);
    let output = soak.output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{told}\n{faults}");
    assert!(told.contains("all sound"), "{told}");
    assert!(told.contains("too short to judge by growth"), "{told}");
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let lines = figures["lines"].as_array().unwrap();
    assert!(lines.len() > 1, "{figures}");
    let last = lines.last().unwrap();
    assert!(last["handled"].as_u64() > last["confirmed"].as_u64(), "{last}");
    assert_eq!(last["backlog"].as_u64(), Some(0), "{last}");
}

/// What rounds with schedules tell of a file with this bug.
fn planted(bug: &str) -> String {
    let mut rounds = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
    rounds.args(["sqlite", "--schedules", "--rounds", "3", "--seed", "1", "--plant", bug]);
    let output = rounds.output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(!output.status.success(), "it was not found: {told}");
    // It says where its files are, which nobody looks at.
    let folder = faults.lines().find_map(|line| line.strip_prefix("its files are in "));
    std::fs::remove_dir_all(folder.expect(&faults)).unwrap();
    faults
}

#[test]
fn schedules_fire_once_or_are_cancelled_while_those_who_share_them_are_killed() {
    let mut round = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
    round.args(["sqlite", "--schedules", "--rounds", "1", "--seed", "1"]);
    let output = round.output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{told}\n{faults}");
    assert!(told.contains("25 kills") && told.contains("all sound"), "{told}");
}

#[test]
fn a_schedule_that_fires_under_the_token_of_another_is_found() {
    let faults = planted("forgets-tokens");
    assert!(faults.contains(" has not fired"), "{faults}");
}

#[test]
fn a_schedule_that_waits_although_it_has_fired_is_found() {
    let faults = planted("fires-again");
    assert!(faults.contains(" has fired 2 times"), "{faults}");
}

#[test]
fn a_moment_that_is_left_out_is_found() {
    let faults = planted("skips-moments");
    assert!(faults.contains("steady: nothing between "), "{faults}");
}
