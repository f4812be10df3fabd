//! The bus is closed while there is no broker, and ends within its limit all the same.

use super::World;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::load::Style;
use crate::rabbitmq::service::{BOOKED, NOTED, QUORUM, Service};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(3);
/// What returning and closing may take beyond it, on a machine that has much else to do.
const LATE: Duration = Duration::from_secs(12);
const ENDPOINTS: [&str; 3] = [QUORUM, BOOKED, NOTED];

pub(super) async fn run(world: &World) -> Result<String, String> {
    let rounds = world.sized(1, 4);
    let (broker, vhost) = (world.broker()?, world.vhost("closing")?);
    let style = Style { limit: LIMIT, ..Style::mixed(world.seed) };
    let mut slowest = Duration::ZERO;
    let mut first_number = 0;
    let mut outcomes = Vec::new();
    for _ in 0..rounds {
        let style = Style { first_number, ..style.clone() };
        let count = world.count(&vhost, &ENDPOINTS);
        let mut course = Course::begin(&vhost.url(""), count, style).await?;
        course.settle_in().await?;
        broker.kill().await?;
        course.disconnected().await?;
        // Publishers wait for the broker, and handlers for the end of what they publish.
        let begun = Instant::now();
        let (service, producers) =
            tokio::join!(drain(course.service.as_ref()), drain(Some(&course.load.bus)));
        slowest = slowest.max(begun.elapsed());
        service.and(producers)?;
        course.load.stop().await?;
        first_number = course.load.next_number();
        broker.up().await?;
        // What was not finished comes again.
        let count = course.count;
        let service = Service::new(vhost.url(""), &ENDPOINTS).start(&count.record, "next").await?;
        count.wait_until_handled().await?;
        drain(Some(&service)).await?;
        outcomes.push(count.outcome()?);
    }
    vhost.remove()?;
    let outcome = outcomes.last().ok_or("there were no rounds")?;
    let seconds = slowest.as_secs_f64();
    Ok(format!("{rounds} drains without a broker, {seconds:.1} s at most: {outcome}"))
}

/// Within its limit, whatever it ends with: without a broker nothing can be closed cleanly.
async fn drain(bus: Option<&tramline::Bus>) -> Result<(), String> {
    let Some(bus) = bus else { return Ok(()) };
    match tokio::time::timeout(LIMIT + LATE, bus.drain(LIMIT)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("a drain within {LIMIT:?} has not ended after {:?}", LIMIT + LATE)),
    }
}
