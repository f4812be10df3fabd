//! One message among many that were taken ahead kills its process, and the process is killed at random
//! moments, too. That one message alone must die.

use super::World;
use crate::dice::Dice;
use crate::postgres::database::Database;
use crate::postgres::evidence::dead;
use crate::postgres::processes::consumer;
use crate::postgres::service::{BOOKED, Service};
use crate::servers::{KILLS, Placed, Record, drain};
use std::time::{Duration, Instant};
use tramline::Bus;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const HANDLED_WITHIN: Duration = Duration::from_secs(300);
/// How long the dead keep what they took, in milliseconds.
const LEASE_MILLIS: u64 = 800;

pub(super) async fn run(world: &World) -> Result<String, String> {
    let (messages, kills) = world.sized((150, 2), (1000, 25));
    let database = world.database("poison").await?;
    let count = world.count(&database, &[BOOKED]);
    let mut dice = Dice::new(world.seed);
    let killer = dice.below(messages);
    let service = Service::new(database.url(""), &[BOOKED]);
    // They are to be killed before they are through.
    let service = Service { millis: 15, prefetch: 1000, lease: LEASE_MILLIS, ..service };
    service.declare(&count.record).await?;
    fill(&database, &count.record, messages, killer).await?;

    let mut taster = consumer(&count.record, "taster", &service);
    let (mut killed, mut deaths) = (0, 0);
    let begun = Instant::now();
    let patience = if world.plant.is_some() { world.patience() } else { HANDLED_WITHIN };
    let left = async || {
        let handled = database.count("SELECT count(DISTINCT number) FROM effect").await?;
        Ok::<_, String>(messages - 1 - handled.cast_unsigned().min(messages - 1))
    };
    loop {
        let left_before = left().await?;
        let killed_after = Instant::now() + dice.millis(300..900);
        taster.start()?;
        let is_over = loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if taster.has_died()? {
                deaths += 1;
                break false;
            }
            let left = left().await?;
            // Whom the last kill has hit is through first: nobody is to be hit three times.
            let may_be_killed = Instant::now() >= killed_after && left + 2 <= left_before;
            if may_be_killed && killed < kills && left > 0 {
                killed += 1;
                taster.kill()?;
                break false;
            }
            if left == 0 && !dead(&database).await?.is_empty() {
                break true;
            }
            if begun.elapsed() > patience {
                return Err(format!(
                    "after {patience:?} and {deaths} deaths {left} messages and the one that kills \
                     are still there"
                ));
            }
        };
        if is_over {
            break;
        }
    }
    taster.end()?;
    if killed < kills {
        return Err(format!("everything was handled before the process was killed {kills} times"));
    }
    match &dead(&database).await?[..] {
        [letter] if letter.number == killer => {}
        dead => return Err(format!("dead should be {killer} alone, dead are {dead:?}")),
    }
    let outcome = count.outcome(None).await?;
    database.remove().await?;
    Ok(format!("{killed} kills and {deaths} deaths of the killer: {outcome}"))
}

/// Puts the messages into the queue, while nobody handles.
async fn fill(
    database: &Database,
    record: &Record,
    messages: u64,
    killer: u64,
) -> Result<(), String> {
    let connected = Bus::connect(&database.url("")).await.map_err(|error| error.to_string())?;
    let bus = connected.start().await.map_err(|error| error.to_string())?;
    let dose = |number| {
        let fails = if number == killer { KILLS } else { 0 };
        Placed { number, key: String::new(), fails, padding: String::new() }
    };
    let doses: Vec<Placed> = (0..messages).map(dose).collect();
    let mut confirmed = record.of_producer("filler").map_err(|error| error.to_string())?;
    for (dose, receipt) in doses.iter().zip(bus.send_all(BOOKED, &doses).await) {
        receipt.map_err(|error| error.to_string())?;
        confirmed.note(&[dose.number]).map_err(|error| error.to_string())?;
    }
    drain(&bus).await
}
