//! The server ends connections of the bus at random, again and again.

use super::World;
use crate::dice::Dice;
use crate::postgres::course::Course;
use crate::postgres::database::Database;
use crate::postgres::processes::consumer;
use crate::postgres::service::{BOOKED, NOTED, ORDERED, PLAIN, Service};
use crate::servers::Style;
use std::time::{Duration, Instant};
use tramline::postgres::sqlx::Row;

const ENDPOINTS: [&str; 4] = [PLAIN, BOOKED, NOTED, ORDERED];
/// Between two blows.
const PAUSE: Duration = Duration::from_millis(200);
/// So many connections in a hundred are ended by each.
const ENDED_PERCENT: u64 = 40;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let lasts = Duration::from_secs(world.sized(4, 120));
    let database = world.database("sessions").await?;
    let count = world.count(&database, &ENDPOINTS);
    // Each of the two may take the other for dead.
    let service = Service::new(database.url(""), &ENDPOINTS);
    let mut second = consumer(&count.record, "second", &service);
    let style = Style {
        tasks: 4,
        batch: 10,
        pause: Duration::from_millis(20),
        keys: 4,
        dies_percent: 1,
        ..Style::plain(world.seed)
    };
    let mut course = Course::begin(count, style, world.plant).await?;
    second.start()?;
    course.load.progress(100).await?;
    let mut dice = Dice::new(world.seed);
    let (begun, mut ended) = (Instant::now(), 0);
    while begun.elapsed() < lasts {
        tokio::time::sleep(PAUSE).await;
        ended += blow(course.database(), &mut dice).await?;
    }
    course.load.progress(100).await?;
    course.finish().await?;
    second.end()?;
    let outcome = course.close().await?;
    database.remove().await?;
    Ok(format!("{ended} connections ended: {outcome}"))
}

/// Ends some connections. Answers how many.
async fn blow(database: &Database, dice: &mut Dice) -> Result<usize, String> {
    const OURS: &str = "SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'tramline' ORDER BY pid";
    let rows = database.rows(OURS).await?;
    let pids = rows.iter().map(|row| row.try_get::<i32, _>(0).map(|pid| pid.to_string()));
    let pids: Result<Vec<String>, _> = pids.collect();
    let pids = pids.map_err(|error| format!("failed to read back ends: {error}"))?;
    let struck: Vec<String> = pids.into_iter().filter(|_| dice.percent(ENDED_PERCENT)).collect();
    let list = struck.join(",");
    database.run(&format!("SELECT pg_terminate_backend(unnest(ARRAY[{list}]::int[]))")).await?;
    Ok(struck.len())
}
