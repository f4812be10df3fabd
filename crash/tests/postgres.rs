//! Short forms of `cargo xtask crash postgres`, each by itself.

use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tramline_services::postgres::Server;
use tramline_services::{Service, or_skip, rabbitmq};

/// A server of all tests of this binary, as long as one of them is there.
struct Kept {
    word: &'static str,
    running: Mutex<Weak<Shared>>,
}

/// Nobody kills it: each test has a database of it for itself.
static CALM: Kept = Kept { word: "calm", running: Mutex::new(Weak::new()) };
/// It is killed in turn.
static KILLED: Kept = Kept { word: "killed", running: Mutex::new(Weak::new()) };

struct Shared {
    server: Server,
    instance: String,
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

impl Kept {
    fn server(&self) -> Option<Arc<Shared>> {
        let mut kept = locked(&self.running);
        if let Some(running) = kept.upgrade() {
            return Some(running);
        }
        let instance = format!("{}-{}", self.word, std::process::id());
        let server = Server::named(&instance).unwrap();
        or_skip(server.up())?;
        let running = Arc::new(Shared { server, instance, turn: Mutex::new(()) });
        *kept = Arc::downgrade(&running);
        Some(running)
    }

    /// Whether all was sound, what was told, and what did not hold.
    fn run(&self, name: &str, further: &[&str]) -> Option<(bool, String, String)> {
        let shared = self.server()?;
        let _turn = (self.word == KILLED.word).then(|| locked(&shared.turn));
        let mut scenario = Command::new(env!("CARGO_BIN_EXE_tramline-crash"));
        scenario.args(["postgres", "--short", "--seed", "1", "--only", name]);
        let output = scenario.args(["--server", &shared.instance]).args(further).output().unwrap();
        let [told, faults] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Some((output.status.success(), told, faults))
    }

    /// What the scenario has told, which was sound.
    fn scenario(&self, name: &str) -> Option<String> {
        let (is_sound, told, faults) = self.run(name, &[])?;
        assert!(is_sound, "{told}\n{faults}");
        assert!(told.contains(", 0 lost") && told.contains("all sound"), "{told}");
        Some(told)
    }

    /// What the scenario finds wrong where this bug is.
    fn planted(&self, name: &str, bug: &str) -> Option<String> {
        let (is_sound, told, faults) = self.run(name, &["--plant", bug])?;
        assert!(!is_sound, "it was not found: {told}");
        // It says where its files are, which nobody looks at.
        let folder = faults.lines().find_map(|line| line.strip_prefix("its files are in "));
        std::fs::remove_dir_all(folder.expect(&faults)).unwrap();
        Some(faults)
    }
}

/// Whether there is a broker to relay to.
fn has_broker() -> bool {
    or_skip(rabbitmq::shared_url()).is_some()
}

#[test]
fn what_is_committed_arrives_in_order_and_nothing_else_while_relays_are_killed() {
    if has_broker()
        && let Some(told) = CALM.scenario("relays")
    {
        assert!(told.contains(" kills of relays") && told.contains(" 0 parked"), "{told}");
    }
}

#[test]
fn effects_and_what_follows_them_happen_once_while_consumers_are_killed() {
    let Some(told) = CALM.scenario("consumers") else { return };
    assert!(told.contains("8 kills of consumers"), "{told}");
}

#[test]
fn keys_keep_their_order_across_processes_while_consumers_are_killed() {
    let Some(told) = CALM.scenario("order") else { return };
    assert!(told.contains("6 kills of consumers"), "{told}");
}

#[test]
fn of_messages_taken_ahead_from_a_database_only_the_one_that_kills_is_a_dead_letter() {
    let Some(told) = CALM.scenario("poison") else { return };
    assert!(told.contains("2 kills") && told.contains(" 1 dead"), "{told}");
}

#[test]
fn nothing_confirmed_is_lost_while_the_server_is_killed_and_stopped_under_load() {
    let Some(told) = KILLED.scenario("stops") else { return };
    assert!(told.contains("3 stops of the server"), "{told}");
}

#[test]
fn schedules_fire_once_or_are_cancelled_while_their_processes_and_the_server_are_killed() {
    let Some((is_sound, told, faults)) = KILLED.run("schedules", &[]) else { return };
    assert!(is_sound && told.contains("all sound"), "{told}\n{faults}");
    assert!(told.contains("2 stops of the server, 15 kills"), "{told}");
}

#[test]
fn everything_goes_on_by_itself_while_the_server_ends_connections() {
    CALM.scenario("sessions");
}

#[test]
fn everything_goes_on_by_itself_after_a_server_that_was_away_and_one_that_did_not_write() {
    let Some(told) = KILLED.scenario("failover") else { return };
    assert!(told.contains("1 failovers"), "{told}");
}

#[test]
fn a_relay_that_does_not_know_the_keys_of_others_is_found() {
    if has_broker()
        && let Some(faults) = CALM.planted("relays", "shares-keys")
    {
        assert!(faults.contains(" came behind "), "{faults}");
    }
}

#[test]
fn a_row_of_the_outbox_that_is_removed_before_the_broker_has_it_is_found() {
    if has_broker()
        && let Some(faults) = CALM.planted("relays", "removes-early")
    {
        assert!(faults.contains(" was committed and is lost"), "{faults}");
        assert!(faults.contains("0 rows are in the outbox"), "{faults}");
    }
}

#[test]
fn an_effect_outside_of_the_transaction_is_found() {
    let Some(faults) = CALM.planted("consumers", "writes-apart") else { return };
    assert!(faults.contains(" was handled 2 times"), "{faults}");
}

#[test]
fn a_key_whose_next_message_does_not_wait_for_the_one_before_is_found() {
    let Some(faults) = CALM.planted("order", "forgets-heads") else { return };
    assert!(faults.contains(" came behind "), "{faults}");
}

#[test]
fn deaths_that_nobody_counts_are_found() {
    let Some(faults) = CALM.planted("poison", "forgets-deaths") else { return };
    assert!(faults.contains("the one that kills are still there"), "{faults}");
}

#[test]
fn a_schedule_of_a_database_that_fires_under_the_token_of_another_is_found() {
    let Some(faults) = KILLED.planted("schedules", "forgets-tokens") else { return };
    assert!(faults.contains(" has not fired"), "{faults}");
}

#[test]
fn a_cancellation_that_is_answered_and_not_kept_is_found() {
    let Some(faults) = KILLED.planted("schedules", "forgets-cancellations") else { return };
    assert!(faults.contains(" was cancelled and has fired"), "{faults}");
}

#[test]
fn a_message_that_is_confirmed_before_it_is_on_the_disk_is_found() {
    let Some(faults) = KILLED.planted("stops", "confirms-early") else { return };
    assert!(faults.contains(LOST), "{faults}");
}

#[test]
fn a_publish_that_failed_and_is_said_to_be_accepted_is_found() {
    let Some(faults) = CALM.planted("sessions", "says-yes") else { return };
    assert!(faults.contains(LOST), "{faults}");
}

#[test]
fn a_publish_that_was_refused_and_is_said_to_be_accepted_is_found() {
    let Some(faults) = KILLED.planted("failover", "says-yes") else { return };
    assert!(faults.contains(LOST), "{faults}");
}

/// What the judge says of a message that it misses.
const LOST: &str = " was confirmed and is lost";
