//! One message among a thousand that were taken ahead kills its process, and the process is killed
//! at random moments, too. That one message alone must die.

use super::World;
use crate::dice::Dice;
use crate::rabbitmq::command::SUBJECT;
use crate::rabbitmq::course::Count;
use crate::servers::{DRAIN_LIMIT, KILLS, Place, Placed, Process, Record, drain};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tramline::{Bus, Endpoint, Failure};

const QUEUE: &str = "poisoned";
const PREFETCH: u32 = 1000;
/// How long a handler takes: the processes are to be killed before they are through.
const HANDLING: Duration = Duration::from_millis(15);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const HANDLED_WITHIN: Duration = Duration::from_secs(300);

/// The process that handles them.
#[derive(clap::Args)]
pub(crate) struct Taster {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The broker
    url: String,
}

impl Taster {
    pub(crate) async fn run(&self) -> Result<(), String> {
        let bus = start(&self.url, &self.place.record(), &self.place.name).await?;
        bus.run(DRAIN_LIMIT).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

async fn start(url: &str, record: &Record, process: &str) -> Result<Bus, String> {
    let journal = record.of_endpoint(QUEUE, process).map_err(|error| error.to_string())?;
    let journal = Arc::new(Mutex::new(journal));
    let taste = move |dose: Placed| {
        let journal = journal.clone();
        async move {
            if dose.fails == KILLS {
                std::process::abort();
            }
            tokio::time::sleep(HANDLING).await;
            journal.lock().note(&[dose.number]).map_err(Failure::from)
        }
    };
    let endpoint = Endpoint::new(QUEUE).prefetch(PREFETCH).concurrency(16).handle(taste);
    let connected = Bus::connect(url).await.map_err(|error| error.to_string())?;
    connected.endpoint(endpoint).start().await.map_err(|error| error.to_string())
}

pub(super) async fn run(world: &World) -> Result<String, String> {
    let (messages, kills) = world.sized((200, 4), (1000, 25));
    let vhost = world.vhost("poison")?;
    let url = vhost.url("");
    let count = world.count(&vhost, &[QUEUE]);
    let mut dice = Dice::new(world.seed);
    let killer = dice.below(messages);
    fill(&url, &count.record, messages, killer).await?;

    let taster = vec![SUBJECT.to_owned(), "taste".to_owned(), url];
    let mut taster = Process::new(&count.record, "taster", taster);
    let (mut killed, mut deaths) = (0, 0);
    let begun = Instant::now();
    let left = || count.record.handled(QUEUE).map(|handled| messages - 1 - handled.len() as u64);
    loop {
        let left_before = left()?;
        let killed_after = Instant::now() + dice.millis(300..900);
        taster.start()?;
        let is_over = loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if taster.has_died()? {
                deaths += 1;
                break false;
            }
            let left = left()?;
            // Whom the last kill has hit is through first: nobody is to be hit three times.
            let may_be_killed = Instant::now() >= killed_after && left + 2 <= left_before;
            if may_be_killed && killed < kills && left > 0 {
                killed += 1;
                taster.kill()?;
                break false;
            }
            if left == 0 && !vhost.dead(&[QUEUE])?.is_empty() {
                break true;
            }
            if begun.elapsed() > HANDLED_WITHIN {
                return Err(format!("after {HANDLED_WITHIN:?} {left} messages are still there"));
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
    judge(&count, killer)?;
    let outcome = count.outcome()?;
    vhost.remove()?;
    Ok(format!("{killed} kills and {deaths} deaths of the killer: {outcome}"))
}

/// Puts the messages into the queue, while nobody handles.
async fn fill(url: &str, record: &Record, messages: u64, killer: u64) -> Result<(), String> {
    let declared = start(url, record, "declarer").await?;
    drain(&declared).await?;
    let connected = Bus::connect(url).await.map_err(|error| error.to_string())?;
    let bus = connected.start().await.map_err(|error| error.to_string())?;
    let dose = |number| {
        let fails = if number == killer { KILLS } else { 0 };
        Placed { number, key: String::new(), fails, padding: String::new() }
    };
    let doses: Vec<Placed> = (0..messages).map(dose).collect();
    let mut confirmed = record.of_producer("filler").map_err(|error| error.to_string())?;
    for (dose, receipt) in doses.iter().zip(bus.send_all(QUEUE, &doses).await) {
        receipt.map_err(|error| error.to_string())?;
        confirmed.note(&[dose.number]).map_err(|error| error.to_string())?;
    }
    drain(&bus).await
}

/// One dead letter, which is the killer.
fn judge(count: &Count, killer: u64) -> Result<(), String> {
    let Some(vhost) = &count.vhost else { return Ok(()) };
    let dead = vhost.dead(&[QUEUE])?;
    match &dead[..] {
        [letter] if letter.number == killer => Ok(()),
        _ => Err(format!("dead should be {killer} alone, dead are {dead:?}")),
    }
}
