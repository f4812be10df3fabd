//! Larger priorities go first, as far as the queue tells them apart.

use crate::kit::{Scene, id, message, take, work};
use std::sync::Arc;
use tramline_core::envelope::Envelope;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::Outgoing;
use tramline_memory::Memory;

#[tokio::test]
async fn priorities_above_the_highest_of_a_queue_are_equal_to_it() {
    let taken = taken_from(QueueSpec { priority_max: Some(5), ..QueueSpec::new(work()) }).await;
    assert_eq!(taken, ["five", "nine", "one", "none"]);
}

#[tokio::test]
async fn a_queue_without_priorities_is_first_in_first_out() {
    let taken = taken_from(QueueSpec::new(work())).await;
    assert_eq!(taken, ["none", "one", "five", "nine"]);
}

/// Sends messages of several priorities, and answers the order in which they come.
async fn taken_from(spec: QueueSpec) -> Vec<String> {
    let scene = Scene::with(Memory::options(), spec).await;
    let of = |id, priority| {
        let envelope = Envelope::clone(&message(id).envelope);
        Outgoing { envelope: Arc::new(Envelope { priority, ..envelope }), ..message(id) }
    };
    let batch = [of("none", None), of("one", Some(1)), of("five", Some(5)), of("nine", Some(9))];
    scene.send(batch).await;
    let mut receiver = scene.receiver().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(take(&mut receiver).await);
    }
    held.iter().map(id).collect()
}
