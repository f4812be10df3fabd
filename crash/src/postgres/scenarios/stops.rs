//! The server is killed with all its back ends, stopped at once, and stopped in order, under load.

use super::World;
use crate::dice::Dice;
use crate::postgres::course::Course;
use crate::postgres::server::Stop;
use crate::postgres::service::{BOOKED, NOTED, ORDERED, PLAIN};
use crate::servers::Style;
use std::time::Duration;

const WAYS: [Stop; 3] = [Stop::Killed, Stop::Immediate, Stop::Fast];

pub(super) async fn run(world: &World) -> Result<String, String> {
    let stops = world.sized(3, 30);
    let database = world.database("stops").await?;
    let count = world.count(&database, &[PLAIN, BOOKED, NOTED, ORDERED]);
    let style = Style {
        tasks: 4,
        batch: 10,
        pause: Duration::from_millis(20),
        keys: 4,
        dies_percent: 1,
        ..Style::plain(world.seed)
    };
    let mut course = Course::begin(count, style, None).await?;
    // Queues that a planted bug forgets would have nobody to send to.
    database.run("CHECKPOINT").await?;
    let mut dice = Dice::new(world.seed);
    for stop in 0..stops {
        course.load.progress(150).await?;
        // Anywhere in a batch.
        tokio::time::sleep(dice.millis(0..300)).await;
        world.server.stop(WAYS[stop % WAYS.len()]).await?;
        tokio::time::sleep(dice.millis(0..500)).await;
        world.server.up().await?;
    }
    course.load.progress(200).await?;
    course.finish().await?;
    let outcome = course.close().await?;
    database.remove().await?;
    Ok(format!("{stops} stops of the server: {outcome}"))
}
