//! Consumers are killed with messages that they have taken and not settled.

use super::World;
use crate::dice::Dice;
use crate::postgres::course::Course;
use crate::postgres::database::Database;
use crate::postgres::processes::consumer;
use crate::postgres::service::{BOOKED, NOTED, PLAIN, Service};
use crate::servers::{Process, Style};
use std::time::Duration;

const CONSUMERS: usize = 3;
const ENDPOINTS: [&str; 3] = [PLAIN, BOOKED, NOTED];
/// How long the dead keep what they took, in milliseconds.
const LEASE_MILLIS: u64 = 1500;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let kills = world.sized(8, 60);
    let database = world.database("consumers").await?;
    let style = Style {
        tasks: 4,
        batch: 20,
        pause: Duration::from_millis(250),
        ..Style::mixed(world.seed)
    };
    let told = killed(world, &database, &ENDPOINTS, style, kills).await?;
    database.remove().await?;
    Ok(told)
}

/// Kills consumers of these endpoints so many times, under such a load.
pub(super) async fn killed(
    world: &World,
    database: &Database,
    endpoints: &[&'static str],
    style: Style,
    kills: u64,
) -> Result<String, String> {
    let count = world.count(database, endpoints);
    let service = Service::new(database.url(""), endpoints);
    let service = Service { millis: 5, lease: LEASE_MILLIS, plant: world.plant, ..service };
    let name = |index| format!("consumer-{index}");
    let process = |index| consumer(&count.record, &name(index), &service);
    let mut consumers: Vec<Process> = (0..CONSUMERS).map(process).collect();
    // Whatever is published from here on has subscribers.
    service.declare(&count.record).await?;
    for consumer in &mut consumers {
        consumer.start()?;
    }
    let mut course = Course::begin_without_service(count, style, None).await?;
    let mut dice = Dice::new(world.seed);
    let mut at_work = 0;
    for _ in 0..kills {
        course.load.progress(1 + dice.below(60)).await?;
        // In the middle of a batch, or in the pause before the next.
        let longest = if dice.percent(50) { 20 } else { 600 };
        tokio::time::sleep(dice.millis(0..longest)).await;
        let killed = &mut consumers[dice.below(CONSUMERS as u64) as usize];
        if killed.has_died()? {
            return Err("a consumer ended by itself".to_owned());
        }
        killed.kill()?;
        at_work += u64::from(course.database().count(ORPHANED).await? > 0);
        killed.start()?;
    }
    course.finish().await?;
    for consumer in &mut consumers {
        consumer.end()?;
    }
    let outcome = course.close().await?;
    if at_work == 0 {
        return Err("nobody held anything when he was killed: this shows nothing".to_owned());
    }
    Ok(format!("{kills} kills of consumers, {at_work} with messages in hand: {outcome}"))
}

/// How much is claimed at this moment.
const ORPHANED: &str = "SELECT count(*) FROM tramline.claim";
