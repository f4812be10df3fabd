//! Consumers of a queue that keeps the order of keys are killed.

use super::World;
use super::consumers::killed;
use crate::postgres::service::ORDERED;
use crate::servers::Style;
use std::time::Duration;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let kills = world.sized(6, 40);
    let database = world.database("order").await?;
    let style = Style {
        keys: 4,
        batch: 20,
        pause: Duration::from_millis(250),
        // What has a delay takes its place when it is due.
        delayed_percent: 0,
        fails_percent: 1,
        ..Style::mixed(world.seed)
    };
    let told = killed(world, &database, &[ORDERED], style, kills).await?;
    database.remove().await?;
    Ok(told)
}
