//! The network between the bus and a broker that is well.

use super::World;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::proxy::{Direction, Proxy};
use crate::rabbitmq::service::{CLASSIC, QUORUM};
use crate::servers::{Style, until};
use std::time::Duration;
use tramline::core::clock::{Clock, SystemClock};

/// Signs of life each second: a connection without any is given up after a few.
const OPTIONS: &str = "&heartbeat=1&connect_limit=2";
/// Less than it takes to give a connection up.
const SHORT_STALL: Duration = Duration::from_millis(700);
/// Of the service and of the producers, to publish and to consume.
const CONNECTIONS: usize = 4;
/// How many must be confirmed before and behind each fault.
const PROGRESS: u64 = 200;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let vhost = world.vhost("network")?;
    let proxy = Proxy::to(world.broker()?.address()?).await;
    let proxy = proxy.map_err(|error| format!("failed to start a proxy: {error}"))?;
    let url = vhost.url_through(proxy.port(), OPTIONS)?;
    let count = world.count(&vhost, &[QUORUM, CLASSIC]);
    let mut course = Course::begin(&url, count, Style::mixed(world.seed)).await?;
    let rounds = world.sized(1, 4);
    for _ in 0..rounds {
        trouble(&proxy, &mut course).await?;
    }
    let outcome = course.end().await?;
    vhost.remove()?;
    Ok(format!("{rounds} rounds of cuts, refusals, stalls and losses: {outcome}"))
}

/// Each fault once; each time everything goes on by itself.
async fn trouble(proxy: &Proxy, course: &mut Course) -> Result<(), String> {
    for _ in 0..2 {
        course.load.progress(PROGRESS).await?;
        proxy.cut();
    }
    course.load.progress(PROGRESS).await?;

    course.connected().await?;
    let now = SystemClock.now();
    proxy.refuse(true);
    proxy.cut();
    course.disconnected(now).await?;
    proxy.refuse(false);
    course.load.progress(PROGRESS).await?;

    proxy.stall(true);
    tokio::time::sleep(SHORT_STALL).await;
    proxy.stall(false);
    course.load.progress(PROGRESS).await?;

    course.connected().await?;
    let now = SystemClock.now();
    proxy.stall(true);
    course.disconnected(now).await?;
    proxy.stall(false);
    course.load.progress(PROGRESS).await?;

    let losses: [&[Direction]; 3] = [
        &[Direction::ToBroker],
        &[Direction::ToClient],
        &[Direction::ToBroker, Direction::ToClient],
    ];
    for directions in losses {
        course.connected().await?;
        let lost = proxy.lose(directions);
        if lost.connections() < CONNECTIONS {
            return Err(format!("of {CONNECTIONS} connections {} were lost", lost.connections()));
        }
        // Each of them by itself: one that nobody gives up would be of no use for ever.
        let is_given_up = || lost.is_given_up();
        until(is_given_up, || format!("not all that had {directions:?} lost were given up"))
            .await?;
        course.load.progress(PROGRESS).await?;
    }
    Ok(())
}
