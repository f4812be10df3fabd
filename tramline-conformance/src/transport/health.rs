//! How a transport is connected, for health checks.

use crate::TransportHarness;
use crate::kit::message::{message, queue_name, to_queue};
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::within;
use tramline_core::health::Health;
use tramline_core::transport::Transport;

pub async fn a_transport_is_connected_until_it_is_closed<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    assert_eq!(scene.transport.health(), Health::Connected);
    let closed = scene.transport.close(scene.deadline()).await;
    closed.unwrap_or_else(|error| panic!("expected to close, got: {error}"));
    // What has no connection is connected for ever.
    let health = scene.transport.health();
    assert!(matches!(health, Health::Connected | Health::Closed), "got {health:?}");
}

/// Nobody has to help: what a lost connection took is there again, and says so.
pub async fn a_transport_whose_leases_ended_is_connected_again_by_itself<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    drop(scene.consumer(WORK, 1).await);
    harness.end_leases(&scene.transport, &queue_name(WORK)).await;
    scene.send(to_queue(WORK, message("a"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;
    let connected = async {
        while !scene.transport.health().is_connected() {
            tokio::task::yield_now().await;
        }
    };
    within(scene.patience, "to be connected again", connected).await;
}
