//! The bus is closed while there is no broker, or one that does not answer, and ends within its limit
//! all the same.

use super::World;
use crate::rabbitmq::broker::{Broker, Vhost};
use crate::rabbitmq::course::Course;
use crate::rabbitmq::proxy::Proxy;
use crate::rabbitmq::service::{BOOKED, NOTED, QUORUM, Service};
use crate::servers::{Outcome, Style, until};
use std::time::{Duration, Instant};
use tramline::Bus;
use tramline::core::clock::{Clock, SystemClock};

const LIMIT: Duration = Duration::from_secs(3);
/// What a bus may take beyond its limit to return what it has taken and to close, and then the machine,
/// which may have much else to do.
const GRACE: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(2);
const ENDPOINTS: [&str; 3] = [QUORUM, BOOKED, NOTED];
/// Of the service and of the producers, to publish and to consume.
const CONNECTIONS: usize = 4;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let rounds = world.sized(1, 4);
    let (broker, vhost) = (world.broker()?, world.vhost("closing")?);
    let proxy = Proxy::to(broker.address()?).await;
    let proxy = proxy.map_err(|error| format!("failed to start a proxy: {error}"))?;
    let ways = [Away::Dead(broker), Away::Mute(&proxy)];
    let (mut slowest, mut outcomes) = ([Duration::ZERO; 2], Vec::new());
    let mut first_number = 0;
    for _ in 0..rounds {
        for (away, slowest) in ways.iter().zip(&mut slowest) {
            let (took, next_number, outcome) = closed(world, &vhost, away, first_number).await?;
            *slowest = took.max(*slowest);
            first_number = next_number;
            outcomes.push(outcome);
        }
    }
    vhost.remove()?;
    let outcome = outcomes.last().ok_or("there were no rounds")?;
    let [dead, mute] = slowest.map(|slowest| slowest.as_secs_f64());
    Ok(format!(
        "{rounds} drains without a broker, {dead:.1} s at most, and {rounds} with a mute one, {mute:.1} s: \
         {outcome}"
    ))
}

/// How the broker is away.
enum Away<'a> {
    /// Nobody listens.
    Dead(&'a Broker),
    /// Connections are made, and nothing is ever said on them.
    Mute(&'a Proxy),
}

impl Away<'_> {
    fn url(&self, vhost: &Vhost) -> Result<String, String> {
        match self {
            Self::Dead(_) => Ok(vhost.url("")),
            Self::Mute(proxy) => vhost.url_through(proxy.port(), ""),
        }
    }

    async fn begin(&self) -> Result<(), String> {
        match self {
            Self::Dead(broker) => broker.kill().await,
            Self::Mute(proxy) => {
                proxy.stall(true);
                proxy.cut();
                // All of them are in the handshake.
                let are_made = || proxy.connections() >= CONNECTIONS;
                until(are_made, || "connections were not made again".to_owned()).await
            }
        }
    }

    async fn end(&self) -> Result<(), String> {
        match self {
            Self::Dead(broker) => broker.up().await,
            Self::Mute(proxy) => {
                proxy.stall(false);
                Ok(())
            }
        }
    }
}

/// Closes the bus of a service at work, and that of the producers. How long that took, the number that
/// comes next, and that nothing is lost.
async fn closed(
    world: &World,
    vhost: &Vhost,
    away: &Away<'_>,
    first_number: u64,
) -> Result<(Duration, u64, Outcome), String> {
    let style = Style { limit: LIMIT, first_number, ..Style::mixed(world.seed) };
    let count = world.count(vhost, &ENDPOINTS);
    let mut course = Course::begin(&away.url(vhost)?, count, style).await?;
    course.settle_in().await?;
    course.connected().await?;
    let now = SystemClock.now();
    away.begin().await?;
    course.disconnected(now).await?;
    // Publishers wait for the broker, and handlers for the end of what they publish.
    let begun = Instant::now();
    let (service, producers) =
        tokio::join!(drain(course.service.as_ref()), drain(Some(&course.load.bus)));
    let took = begun.elapsed();
    service.and(producers)?;
    course.load.stop().await?;
    let next_number = course.load.next_number();
    away.end().await?;
    // What was not finished comes again.
    let count = course.count;
    let service = Service::new(vhost.url(""), &ENDPOINTS).start(&count.record, "next").await?;
    count.wait_until_handled().await?;
    drain(Some(&service)).await?;
    Ok((took, next_number, count.outcome()?))
}

/// Within its limit, whatever it ends with: without a broker nothing can be closed cleanly.
async fn drain(bus: Option<&Bus>) -> Result<(), String> {
    let Some(bus) = bus else { return Ok(()) };
    let limit = LIMIT + GRACE + LATE;
    match tokio::time::timeout(limit, bus.drain(LIMIT)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("a drain within {LIMIT:?} has not ended after {limit:?}")),
    }
}
