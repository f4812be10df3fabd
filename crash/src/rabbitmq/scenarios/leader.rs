//! In a cluster of three, the member that leads the queue is killed under load, and brought back.

use super::World;
use crate::rabbitmq::cluster::Members;
use crate::rabbitmq::course::{Count, Course, HANDLED_WITHIN};
use crate::rabbitmq::service::{BOOKED, NOTED, QUORUM};
use crate::servers::{Record, Style};
use std::collections::BTreeSet;
use std::time::Duration;

const ENDPOINTS: [&str; 3] = [QUORUM, BOOKED, NOTED];
/// What a queue without a leader says, as the driver tells it.
const NO_LEADER: &str = "a queue did not take it";

pub(super) async fn run(world: &World) -> Result<String, String> {
    let cluster = world.cluster.as_ref().ok_or("there is no cluster")?;
    let kills = world.sized(1, 3);
    let style = Style { fails_percent: 3, delayed_percent: 5, ..calm(world) };
    let count = count(world.record(), &ENDPOINTS);
    let mut course = Course::begin(&cluster.url(), count, style).await?;
    course.settle_in().await?;
    for _ in 0..kills {
        course.load.progress(400).await?;
        cluster.complete().await?;
        let leader = cluster.leader_of(QUORUM, 1).await?;
        cluster.kill(leader).await?;
        // Two of three are enough.
        course.load.progress(400).await?;
        if cluster.leader_of(QUORUM, cluster.another(leader)).await? == leader {
            return Err(format!("member {leader} was killed and leads all the same"));
        }
        cluster.up().await?;
    }
    course.load.progress(400).await?;
    cluster.complete().await?;
    let next = course.load.next_number();
    let outcome = course.end().await?;
    let late = late_election(world, cluster, next).await?;
    Ok(format!("{kills} kills of the queue's leader: {outcome}; a late election: {late}"))
}

/// The leader dies, and the others take their time to elect the next one: who publishes to the queue
/// for the first time meanwhile is refused, and gets through on the same connection when there is one.
async fn late_election(
    world: &World,
    cluster: &Members,
    first_number: u64,
) -> Result<String, String> {
    let url = cluster.url();
    let count = count(Record::new(&world.folder.join("late")), &[QUORUM]);
    let leader = cluster.leader_of(QUORUM, 1).await?;
    cluster.hold(QUORUM, leader, true).await?;
    cluster.kill(leader).await?;
    let style = Style {
        first_number,
        to_queue: Some(QUORUM),
        tasks: 2,
        limit: Duration::from_secs(3),
        ..calm(world)
    };
    let mut course = Course::begin_without_service(&url, count, style).await?;
    course.load.refusal(NO_LEADER).await?;
    cluster.hold(QUORUM, leader, false).await?;
    course.load.progress(400).await?;
    cluster.up().await?;
    course.serve(&url).await?;
    Ok(course.end().await?.to_string())
}

/// Three nodes on one machine have enough to do.
fn calm(world: &World) -> Style {
    Style { tasks: 4, pause: Duration::from_millis(500), ..Style::plain(world.seed) }
}

fn count(record: Record, endpoints: &[&'static str]) -> Count {
    let (endpoints, deleted) = (endpoints.to_vec(), BTreeSet::new());
    Count { record, endpoints, vhost: None, deleted, patience: HANDLED_WITHIN }
}
