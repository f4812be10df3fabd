//! What is planted is found, and without it nothing is.

use super::bug::{Bug, StoreBug};
use super::store::PlantedStore;
use super::transport::Planted;
use crate::engine::worlds::{
    self, by_bus_with, deduplication_with, elsewhere_with, expiry_by_bus_with, expiry_with,
    fan_out_with, full_with, poison_with, redrive_with, shared_with,
};
use tramline::testing::faults::Faulty;
use tramline::testing::{Found, Life, Scenario, Simulation};
use tramline::{BusBuilder, Memory};

#[test]
fn a_thousand_seeds_hold() {
    let survived = Simulation::of(worlds::of_seed).seeds(0..1000).run().unwrap();
    assert_eq!(survived.seeds, 1000);
    assert!(survived.lives > 3000, "hardly anything died: {survived}");
    assert!(survived.faults > 5000, "hardly anything went wrong: {survived}");
}

/// The seeds within which each planted bug must be found.
const ENOUGH: u64 = 300;

fn found(scenario: impl Fn() -> Scenario + Send + Sync + 'static) -> Found {
    Simulation::of(move |_| scenario()).seeds(0..ENOUGH).run().unwrap_err()
}

fn on(life: &Life, bug: Bug) -> BusBuilder {
    life.bus_on(Planted { inner: life.transport(), bug })
}

fn with(life: &Life, store: Faulty<Memory>, bug: StoreBug) -> BusBuilder {
    life.bus().store(PlantedStore::new(store, bug))
}

#[test]
fn an_ack_before_the_work_is_found() {
    let found = found(|| fan_out_with(|life| on(life, Bug::AcksOnDelivery)));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn an_ack_before_the_commit_elsewhere_is_found() {
    let bus = |life: &Life| on(life, Bug::AcksOnDelivery).store(life.elsewhere());
    let found = found(move || elsewhere_with(bus));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn an_ack_before_the_commit_in_one_database_is_found() {
    let bus = |life: &Life| with(life, life.store(), StoreBug::AcksBefore);
    let found = found(move || shared_with(bus));
    // Its writes and its messages are lost with it; either may be missed first.
    assert!(found.invariant().ends_with(", or dead"), "{found}");
}

#[test]
fn a_dead_letter_before_its_copy_is_confirmed_is_found() {
    let bus = |life: &Life| on(life, Bug::ConfirmsCopiesEarly).store(life.store());
    let found = found(move || by_bus_with(bus));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn an_inbox_row_after_the_transaction_is_found() {
    let bus = |life: &Life| with(life, life.elsewhere(), StoreBug::AdmitsAfterwards);
    let found = found(move || elsewhere_with(bus));
    assert_eq!(found.invariant(), "transactional effects happen once", "{found}");
}

#[test]
fn an_inbox_row_before_the_transaction_is_found() {
    let bus = |life: &Life| with(life, life.elsewhere(), StoreBug::AdmitsBefore);
    let found = found(move || elsewhere_with(bus));
    assert_eq!(found.invariant(), "orders are charged, or dead", "{found}");
}

#[test]
fn a_lost_wake_up_is_found() {
    let found = found(|| fan_out_with(|life| on(life, Bug::LosesAWakeUp)));
    assert_eq!(found.invariant(), "nothing stalls", "{found}");
    assert_eq!(found.faults(), 0, "it takes no fault at all: {found}");
}

#[test]
fn a_commit_whose_answer_was_lost_and_taken_for_done_is_found() {
    let bus = |life: &Life| with(life, life.elsewhere(), StoreBug::TakesSilenceForDone);
    let found = found(move || elsewhere_with(bus));
    assert!(found.invariant().ends_with(", or dead"), "{found}");
}

#[test]
fn a_stop_that_acks_what_was_prefetched_is_found() {
    let found = found(|| fan_out_with(|life| on(life, Bug::AcksWhatIsReturned)));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn a_handler_that_begins_with_what_has_expired_is_found() {
    let found = found(|| expiry_by_bus_with(|life| on(life, Bug::ForgetsExpiry)));
    assert_eq!(found.invariant(), "no handler begins with what has expired", "{found}");
}

#[test]
fn what_expires_and_is_no_dead_letter_is_found() {
    let found = found(|| expiry_with(|life| on(life, Bug::AcksWhatHasExpired)));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn a_publish_of_which_a_full_queue_refuses_a_part_is_found() {
    let bus = |life: &Life| on(life, Bug::PublishesQueueByQueue).store(life.store());
    let found = found(move || full_with(bus));
    assert_eq!(found.invariant(), "what one subscriber gets, the other gets too", "{found}");
}

#[test]
fn a_message_that_a_full_queue_refused_and_nobody_knows_of_it_is_found() {
    let bus = |life: &Life| on(life, Bug::ConfirmsWhatIsRefused).store(life.store());
    let found = found(move || full_with(bus));
    assert_eq!(found.invariant(), "orders are charged, or dead", "{found}");
}

#[test]
fn a_duplicate_that_is_handled_within_the_window_is_found() {
    let found = found(|| deduplication_with(|life| on(life, Bug::IgnoresTheWindow)));
    assert_eq!(found.invariant(), "of what is sent twice one is handled", "{found}");
    assert_eq!(found.faults(), 0, "it takes no fault at all: {found}");
}

#[test]
fn a_copy_that_is_dropped_as_sent_before_is_found() {
    let found = found(|| deduplication_with(|life| on(life, Bug::DropsCopies)));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn a_redrive_that_a_crash_can_cut_in_two_is_found() {
    let bus = |life: &Life| on(life, Bug::RedrivesInTwoSteps).store(life.store());
    let found = found(move || redrive_with(bus));
    assert_eq!(found.invariant(), "nothing is lost", "{found}");
}

#[test]
fn a_suspect_that_is_never_acquitted_is_found() {
    let found = found(|| poison_with(|life| on(life, Bug::AcquitsNobody)));
    assert_eq!(found.invariant(), "who kills the process is dead, and no other", "{found}");
}
