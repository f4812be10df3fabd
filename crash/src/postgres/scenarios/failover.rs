//! The server goes away, comes back as one that refuses to write, and then is promoted.

use super::World;
use crate::dice::Dice;
use crate::postgres::course::Course;
use crate::postgres::server::Stop;
use crate::postgres::service::{BOOKED, NOTED, ORDERED, PLAIN};
use crate::servers::Style;
use std::time::Duration;

/// Whether sessions that come may not write.
const REFUSES: &str = "SELECT count(*) FROM pg_settings
    WHERE name = 'default_transaction_read_only' AND setting = 'on'";
/// For all sessions, those that are there and those that come.
const WRITES: &str = "ALTER SYSTEM RESET default_transaction_read_only";

pub(super) async fn run(world: &World) -> Result<String, String> {
    let rounds = world.sized(1, 6);
    let database = world.database("failover").await?;
    let count = world.count(&database, &[PLAIN, BOOKED, NOTED, ORDERED]);
    let style = Style {
        tasks: 4,
        batch: 10,
        pause: Duration::from_millis(20),
        keys: 4,
        // What is planted says yes to what has come to its limit.
        limit: Duration::from_secs(if world.plant.is_some() { 1 } else { 15 }),
        ..Style::plain(world.seed)
    };
    let mut course = Course::begin(count, style, world.plant).await?;
    let mut dice = Dice::new(world.seed);
    for _ in 0..rounds {
        course.load.progress(200).await?;
        // It holds from the next start on.
        database.run("ALTER SYSTEM SET default_transaction_read_only = on").await?;
        tokio::time::sleep(dice.millis(0..300)).await;
        world.server.stop(Stop::Fast).await?;
        tokio::time::sleep(dice.millis(500..2000)).await;
        world.server.up().await?;
        if database.count(REFUSES).await? == 0 {
            return Err("the server does not refuse to write: this shows nothing".to_owned());
        }
        tokio::time::sleep(dice.millis(500..1500)).await;
        database.run(WRITES).await?;
        database.run("SELECT pg_reload_conf()").await?;
    }
    course.load.progress(200).await?;
    course.finish().await?;
    let outcome = course.close().await?;
    database.remove().await?;
    Ok(format!("{rounds} failovers: {outcome}"))
}
