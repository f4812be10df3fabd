//! The broker is killed while messages wait in its stages for their time, or for another run.

use super::World;
use crate::dice::Dice;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::service::{CLASSIC, QUORUM};
use crate::servers::Style;
use tramline::core::clock::{Clock, SystemClock};

pub(super) async fn run(world: &World) -> Result<String, String> {
    let kills = world.sized(1, 4);
    let (broker, vhost) = (world.broker()?, world.vhost("delays")?);
    let style = Style {
        delayed_percent: 70,
        delay_millis: &[800, 2000, 5000, 12_000],
        fails_percent: 40,
        ..Style::mixed(world.seed)
    };
    let count = world.count(&vhost, &[QUORUM, CLASSIC]);
    let mut course = Course::begin(&vhost.url(""), count, style).await?;
    let mut dice = Dice::new(world.seed);
    course.settle_in().await?;
    for _ in 0..kills {
        course.load.progress(1000).await?;
        // Long enough for copies that wait for another run.
        tokio::time::sleep(dice.millis(500..1500)).await;
        course.connected().await?;
        let now = SystemClock.now();
        broker.kill().await?;
        course.disconnected(now).await?;
        broker.up().await?;
    }
    course.load.progress(200).await?;
    let outcome = course.end().await?;
    vhost.remove()?;
    Ok(format!("{kills} kills while messages wait: {outcome}"))
}
