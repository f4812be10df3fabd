//! How a bus is connected.

use crate::kit::World;
use tramline::core::clock::Clock;
use tramline::core::erased::DynTransport;
use tramline::core::health::Health;

#[tokio::test]
async fn the_health_of_a_bus_is_that_of_its_transport() {
    let world = World::new();
    let rigged = world.rigged();
    let erased: Box<dyn DynTransport> = Box::new(rigged.clone());
    let bus = world.bus_on(erased).start().await.unwrap();
    assert_eq!(bus.health(), Health::Connected);
    let blocked = Health::Blocked { since: world.clock.now(), reason: "low on memory".to_owned() };
    *rigged.rig.health.lock() = blocked.clone();
    assert_eq!(bus.health(), blocked);
    assert_eq!(bus.health().to_string(), "blocked: low on memory");
}
