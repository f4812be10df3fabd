//! A few rounds of `cargo xtask crash sqlite`.

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
