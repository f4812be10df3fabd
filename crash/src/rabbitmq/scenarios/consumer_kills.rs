//! Consumers are killed with messages that they have taken and not settled.

use super::World;
use crate::dice::Dice;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::load::Style;
use crate::rabbitmq::processes::Process;
use crate::rabbitmq::service::{BOOKED, CLASSIC, NOTED, QUORUM, Service};
use std::time::Duration;

const CONSUMERS: usize = 3;
const ENDPOINTS: [&str; 4] = [QUORUM, CLASSIC, BOOKED, NOTED];

pub(super) async fn run(world: &World) -> Result<String, String> {
    let kills = world.sized(8, 60);
    let vhost = world.vhost("consumers")?;
    let count = world.count(&vhost, &ENDPOINTS);
    let service = Service { millis: 5, ..Service::new(vhost.url(""), &ENDPOINTS) };
    let process = |index| Process::consumer(&count.record, &format!("consumer-{index}"), &service);
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
        tokio::time::sleep(dice.millis(0..400)).await;
        let killed = &mut consumers[dice.below(CONSUMERS as u64) as usize];
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
