//! In a cluster of three, the member that leads the queue is killed under load, and brought back.

use super::World;
use crate::rabbitmq::course::{Count, Course};
use crate::rabbitmq::load::Style;
use crate::rabbitmq::service::{BOOKED, NOTED, QUORUM};
use std::collections::BTreeSet;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let cluster = world.cluster.as_ref().ok_or("there is no cluster")?;
    let kills = world.sized(1, 3);
    let count = Count {
        record: world.record(),
        endpoints: vec![QUORUM, BOOKED, NOTED],
        vhost: None,
        deleted: BTreeSet::new(),
    };
    let style = Style { fails_percent: 3, delayed_percent: 5, ..Style::plain(world.seed) };
    let mut course = Course::begin(&cluster.url()?, count, style).await?;
    course.settle_in().await?;
    for _ in 0..kills {
        course.load.progress(400).await?;
        cluster.kill(cluster.leader_of(QUORUM).await?).await?;
        // Two of three are enough.
        course.load.progress(400).await?;
        cluster.up().await?;
    }
    course.load.progress(400).await?;
    let outcome = course.end().await?;
    Ok(format!("{kills} kills of the queue's leader: {outcome}"))
}
