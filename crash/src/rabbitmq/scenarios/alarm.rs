//! The broker runs out of memory: it delivers, and takes nothing.

use super::World;
use crate::rabbitmq::course::Course;
use crate::rabbitmq::service::QUORUM;
use crate::servers::{Style, until};
use std::time::Duration;
use tramline::core::clock::{Clock, SystemClock, Timestamp};
use tramline::core::health::Health;

const OUT_OF_MEMORY: [&str; 2] = ["set_vm_memory_high_watermark", "0.0000001"];
const ENOUGH_MEMORY: [&str; 2] = ["set_vm_memory_high_watermark", "0.4"];

/// Of the alarm that is raised here, as the broker tells it.
const REASON: &str = "memory";

/// How many times what may be in flight is offered while the process is watched. If what is refused
/// stayed, it would grow by all of that; by some it grows anyway, as allocators keep what was freed.
const OFFERED: u64 = 8;

/// A clock is read before and behind an answer.
const UNSHARP: Duration = Duration::from_millis(50);

pub(super) async fn run(world: &World) -> Result<String, String> {
    let (broker, vhost) = (world.broker()?, world.vhost("alarm")?);
    let style = Style {
        tasks: 4,
        padding: 64 * 1024,
        pause: Duration::from_millis(500),
        limit: world.sized(Duration::from_secs(2), Duration::from_secs(8)),
        ..Style::plain(world.seed)
    };
    let (limit, in_flight) = (style.limit, style.tasks * style.batch);
    let bytes_in_flight = in_flight * style.padding as u64;
    let count = world.count(&vhost, &[QUORUM]);
    let mut course = Course::begin(&vhost.url(""), count, style).await?;
    course.load.progress(400).await?;

    let now = SystemClock.now();
    broker.ctl(&OUT_OF_MEMORY).await?;
    let grew = blocked(&course, in_flight, now).await;
    broker.ctl(&ENOUGH_MEMORY).await?;
    let grew = grew?;
    if grew > OFFERED * bytes_in_flight / 2 {
        return Err(format!("while the broker took nothing, the process grew by {grew} bytes"));
    }
    let is_connected = || course.load.bus.health().is_connected();
    until(is_connected, || "the alarm did not end for the producers".to_owned()).await?;
    course.load.progress(400).await?;
    let outcome = course.end().await?;
    let fastest = outcome.answers.as_ref().and_then(|answers| answers.fastest_error);
    match fastest {
        Some(fastest) if fastest + UNSHARP < limit => {
            return Err(format!("a publish was refused after {fastest:?}, its limit is {limit:?}"));
        }
        None => return Err("no publish came to its limit: this shows nothing".to_owned()),
        Some(_) => {}
    }
    vhost.remove()?;
    Ok(format!("a memory alarm, {} KiB more memory: {outcome}", grew / 1024))
}

/// Waits while the producers offer more than may be in flight, and what the broker has taken is
/// delivered. Answers by how many bytes the process grew meanwhile.
async fn blocked(course: &Course, in_flight: u64, now: Timestamp) -> Result<u64, String> {
    let is_told = || match course.load.bus.health() {
        Health::Blocked { since, reason } => since >= now && reason.contains(REASON),
        _ => false,
    };
    until(is_told, || "the health did not say that the broker blocks".to_owned()).await?;
    let refused = |times: u64| {
        let goal = course.load.errors() + times * in_flight;
        until(move || course.load.errors() >= goal, || "publishers were not answered".to_owned())
    };
    // What is given up by now was under way when the broker blocked.
    refused(2).await?;
    let (bytes, confirmed) = (resident_bytes()?, course.load.confirmed());
    refused(OFFERED).await?;
    // It delivers all the same.
    course.count.wait_until_handled().await?;
    if !is_told() {
        let health = course.load.bus.health();
        return Err(format!("the broker still blocks, and the health says {health}"));
    }
    let more = course.load.confirmed() - confirmed;
    if more > 0 {
        return Err(format!("{more} were confirmed by a broker that takes nothing"));
    }
    Ok(resident_bytes()?.saturating_sub(bytes))
}

/// The memory of this process. Where the system does not say, nothing is shown by it.
fn resident_bytes() -> Result<u64, String> {
    const STATUS: &str = "/proc/self/status";
    let status = std::fs::read_to_string(STATUS);
    let status = status.map_err(|error| format!("failed to read {STATUS}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| format!("{STATUS} does not say how much memory is used"))
}
