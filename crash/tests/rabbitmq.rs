//! Short forms of `cargo xtask crash rabbitmq`, each by itself.

use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tramline_services::rabbitmq::Server;
use tramline_services::{Service, or_skip};

/// The broker of all tests of this binary, as long as one of them is there.
static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

struct Shared {
    server: Server,
    instance: String,
    /// One at a time: it is killed in turn.
    turn: Mutex<()>,
}

/// Removes it with the last test that wants it.
impl Drop for Shared {
    fn drop(&mut self) {
        let wiped = self.server.wipe();
        assert!(std::thread::panicking() || wiped.is_ok(), "{wiped:?}");
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed has told so by itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared() -> Option<Arc<Shared>> {
    let mut shared = locked(&SHARED);
    if let Some(running) = shared.upgrade() {
        return Some(running);
    }
    let instance = format!("faults-{}", std::process::id());
    let server = Server::named(&instance).unwrap();
    or_skip(server.up())?;
    let running = Arc::new(Shared { server, instance, turn: Mutex::new(()) });
    *shared = Arc::downgrade(&running);
    Some(running)
}

/// What the scenario has told, which was sound.
fn scenario(name: &str) -> Option<String> {
    let shared = shared()?;
    let _turn = locked(&shared.turn);
    Some(sound(name, &["--server", &shared.instance]))
}

fn sound(name: &str, further: &[&str]) -> String {
    let (is_sound, told, faults) = run(name, further);
    assert!(is_sound, "{told}\n{faults}");
    assert!(told.contains(" confirmed, 0 lost") && told.contains("all sound"), "{told}");
    told
}

/// Whether all was sound, what was told, and what did not hold.
fn run(name: &str, further: &[&str]) -> (bool, String, String) {
    let mut scenario = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
    scenario.args(["rabbitmq", "--short", "--seed", "1", "--only", name]).args(further);
    let output = scenario.output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.success(), told, faults)
}

/// What the scenario finds wrong with a driver that has this bug.
fn planted(name: &str, bug: &str) -> Option<String> {
    let shared = shared()?;
    let _turn = locked(&shared.turn);
    let (is_sound, told, faults) = run(name, &["--server", &shared.instance, "--plant", bug]);
    assert!(!is_sound, "it was not found: {told}");
    // It says where its files are, which nobody looks at.
    let folder = faults.lines().find_map(|line| line.strip_prefix("its files are in "));
    std::fs::remove_dir_all(folder.expect(&faults)).unwrap();
    Some(faults)
}

#[test]
fn nothing_confirmed_is_lost_while_the_broker_is_killed_under_load() {
    let Some(told) = scenario("broker") else { return };
    assert!(told.contains("5 kills of the broker"), "{told}");
}

#[test]
fn delayed_messages_and_retries_survive_the_broker_that_they_wait_in() {
    scenario("delays");
}

#[test]
fn everything_goes_on_by_itself_after_cuts_refusals_stalls_and_silent_losses_of_the_network() {
    scenario("network");
}

#[test]
fn a_queue_that_is_deleted_takes_with_it_only_what_was_in_it() {
    let Some(told) = scenario("deletion") else { return };
    assert!(told.contains("2 deletions"), "{told}");
}

#[test]
fn publishers_wait_while_the_broker_has_no_memory_and_go_on_when_it_has() {
    scenario("alarm");
}

#[test]
fn consumers_that_are_killed_lose_nothing_and_a_store_takes_nothing_twice() {
    let Some(told) = scenario("consumers") else { return };
    assert!(told.contains("8 kills of consumers"), "{told}");
}

#[test]
fn of_messages_taken_ahead_from_a_broker_only_the_one_that_kills_is_a_dead_letter() {
    let Some(told) = scenario("poison") else { return };
    assert!(told.contains("4 kills") && told.contains(" 1 dead"), "{told}");
}

#[test]
fn a_drain_ends_within_its_limit_while_there_is_no_broker() {
    scenario("closing");
}

#[test]
fn nothing_confirmed_is_lost_when_the_leader_of_a_queue_is_killed() {
    let installed = shared();
    if installed.is_some() {
        let told = sound("leader", &[]);
        assert!(told.contains("1 kills of the queue's leader"), "{told}");
    }
}

#[test]
fn an_ack_before_the_handler_is_found() {
    let Some(faults) = planted("consumers", "acks-on-delivery") else { return };
    assert!(faults.contains(LOST), "{faults}");
}

#[test]
fn a_publish_that_is_accepted_before_the_broker_confirms_it_is_found() {
    let Some(faults) = planted("broker", "confirms-early") else { return };
    assert!(faults.contains(LOST), "{faults}");
}

#[test]
fn a_retry_whose_original_is_acked_before_the_copy_is_confirmed_is_found() {
    let Some(faults) = planted("consumers", "confirms-copies-early") else { return };
    assert!(faults.contains(LOST), "{faults}");
}

#[test]
fn an_effect_that_happens_twice_though_there_is_an_inbox_is_found() {
    let Some(faults) = planted("consumers", "forgets-ids") else { return };
    assert!(faults.contains(" was handled 2 times"), "{faults}");
}

/// What the judge says of a message that it misses.
const LOST: &str = " was confirmed and is lost";
