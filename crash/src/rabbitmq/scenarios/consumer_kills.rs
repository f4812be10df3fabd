//! Consumers are killed with messages that they have taken and not settled.

use super::World;
use crate::dice::Dice;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::processes::consumer;
use crate::rabbitmq::service::{BOOKED, CLASSIC, NOTED, QUORUM, Service};
use crate::servers::{Process, Record, Style, until};
use std::time::Duration;

const CONSUMERS: usize = 3;
const ENDPOINTS: [&str; 4] = [QUORUM, CLASSIC, BOOKED, NOTED];

pub(super) async fn run(world: &World) -> Result<String, String> {
    let kills = world.sized(8, 60);
    let vhost = world.vhost("consumers")?;
    let count = world.count(&vhost, &ENDPOINTS);
    let service = Service::new(vhost.url(""), &ENDPOINTS);
    let service = Service { millis: 5, plant: world.plant, ..service };
    let process = |index| consumer(&count.record, &name(index), &service);
    let mut consumers: Vec<Process> = (0..CONSUMERS).map(process).collect();
    // Whatever is published from here on has subscribers.
    service.declare(&count.record).await?;
    for consumer in &mut consumers {
        consumer.start()?;
    }
    let style = Style { pause: Duration::from_millis(500), ..Style::mixed(world.seed) };
    let mut course = Course::begin_without_service(&vhost.url(""), count, style).await?;
    let mut dice = Dice::new(world.seed);
    for _ in 0..kills {
        course.load.progress(1 + dice.below(200)).await?;
        let index = dice.below(CONSUMERS as u64) as usize;
        at_work(&course.count.record, &name(index)).await?;
        // In the middle of a batch, or in the pause before the next.
        let longest = if dice.percent(50) { 20 } else { 400 };
        tokio::time::sleep(dice.millis(0..longest)).await;
        let killed = &mut consumers[index];
        if killed.has_died()? {
            return Err("a consumer ended by itself".to_owned());
        }
        killed.kill()?;
        killed.start()?;
    }
    course.finish().await?;
    for consumer in &mut consumers {
        consumer.end()?;
    }
    let outcome = course.close().await?;
    vhost.remove()?;
    Ok(format!("{kills} kills of consumers: {outcome}"))
}

fn name(index: usize) -> String {
    format!("consumer-{index}")
}

/// Waits until the process with this name handles messages: it has some that it has not settled.
async fn at_work(record: &Record, process: &str) -> Result<(), String> {
    let handled = || record.handled_by(QUORUM, process).map_err(|error| error.to_string());
    // With a byte more it has only begun another life.
    let before = handled()? + 1;
    let is_at_work = || handled().is_ok_and(|now| now > before);
    until(is_at_work, || format!("{process} handled nothing")).await
}
