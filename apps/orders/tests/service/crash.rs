//! The parent is killed by SIGKILL in the middle, and started again.

use crate::exchange::get;
use crate::processes::{gone, until};
use crate::program::Folder;
use tramline_services::testing::Database;

/// Kills a run of so many `orders` once a quarter of them is placed, and goes on.
fn killed_and_resumed(arguments: &[&str], workers: usize, orders: u64) {
    let seen = orders / 4;
    let folder = Folder::new();
    let limit = orders.to_string();
    let arguments = [arguments, &["--limit", &limit]].concat();
    let mut service = folder.start(&[&arguments[..], &["--exit"]].concat());
    let address = service.address();
    let children = service.workers();
    assert_eq!(children.len(), workers);
    until("the middle of the run", || {
        (get(address, &format!("/orders/{seen}")).status == 200).then_some(())
    });
    service.signal("KILL");
    assert_eq!(service.ended().status.code(), None, "it had ended by itself before");
    gone(&children);
    let report = folder.run(&arguments);
    assert_eq!(report["accepted"], orders, "{report}");
}

#[test]
fn workers_end_with_their_parent_and_the_next_one_goes_on() {
    killed_and_resumed(&[], 2, 6000);
}

#[test]
fn the_next_one_goes_on_in_postgresql() {
    let Some(database) = Database::fresh() else { return };
    killed_and_resumed(&["--database", database.url.as_str()], 2, 2000);
}

#[test]
fn a_bus_in_memory_is_filled_again_from_the_tables() {
    killed_and_resumed(&["--broker", "memory:"], 0, 6000);
}
