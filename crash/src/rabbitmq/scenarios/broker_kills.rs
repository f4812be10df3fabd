//! The broker is killed and started again, under load.

use super::World;
use crate::dice::Dice;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::service::{BOOKED, CLASSIC, NOTED, QUORUM};
use crate::servers::Style;
use tramline::core::clock::{Clock, SystemClock};

pub(super) async fn run(world: &World) -> Result<String, String> {
    // What is planted shows after one.
    let kills = if world.plant.is_some() { 1 } else { world.sized(5, 10) };
    let (broker, vhost) = (world.broker()?, world.vhost("broker")?);
    let count = world.count(&vhost, &[QUORUM, CLASSIC, BOOKED, NOTED]);
    // What waits in the broker has a scenario of its own.
    let style = Style { dies_percent: 1, ..Style::plain(world.seed) };
    let mut course = Course::begin_planted(&vhost.url(""), world.plant, count, style).await?;
    let mut dice = Dice::new(world.seed);
    course.settle_in().await?;
    for _ in 0..kills {
        course.load.progress(500).await?;
        // Anywhere in a batch.
        tokio::time::sleep(dice.millis(0..300)).await;
        course.connected().await?;
        let now = SystemClock.now();
        broker.kill().await?;
        course.disconnected(now).await?;
        broker.up().await?;
    }
    course.load.progress(500).await?;
    let outcome = course.end().await?;
    vhost.remove()?;
    Ok(format!("{kills} kills of the broker: {outcome}"))
}
