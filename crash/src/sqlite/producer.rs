//! A process that publishes until it is killed.

use super::consumer::{ENDPOINTS_OF_PLACED, open};
use super::dice::Dice;
use super::journal::Journal;
use super::message::{Placed, first_number};
use super::processes::Round;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tramline::{Bus, Draft};

/// Each publishes one batch after the other.
const TASKS: u64 = 4;
const KEYS_OF_A_TASK: u64 = 3;
const BATCH_MAX: u64 = 4;
const PAUSE_MS_MAX: u64 = 20;
/// Consumers start at the same time; until they have subscribed, nobody would get anything.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(20);

/// Which producer this is, and what it works with.
#[derive(clap::Args)]
pub(crate) struct Producer {
    #[command(flatten)]
    pub(crate) round: Round,
    /// Which one it is
    index: u64,
    /// How often it was started before
    life: u64,
}

impl Producer {
    pub(crate) async fn run(&self) -> Result<(), String> {
        let Round { folder, seed, .. } = &self.round;
        let sqlite = open(folder, *seed).await?;
        let bus = Bus::builder(sqlite).publishes::<Placed>().start();
        let bus = bus.await.map_err(|error| error.to_string())?;
        wait_for_subscribers(&bus).await?;
        let numbers = Arc::new(AtomicU64::new(first_number(self.index, self.life)));
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let name = format!("{}-{task}", self.index);
            let line = Line {
                journal: open_journal(folder, &name)?,
                name,
                bus: bus.clone(),
                numbers: numbers.clone(),
                dice: Dice::new(seed ^ first_number(self.index, self.life) ^ (task << 56)),
            };
            tasks.spawn(line.publish_for_ever());
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }
}

fn open_journal(folder: &Path, name: &str) -> Result<Journal, String> {
    Journal::open(folder, name).map_err(|error| format!("failed to open journal {name}: {error}"))
}

async fn wait_for_subscribers(bus: &Bus) -> Result<(), String> {
    const PAUSE: Duration = Duration::from_millis(5);
    let wait = async {
        loop {
            let subscriptions = bus.operate()?.subscriptions().await?;
            let of_placed = subscriptions.iter().filter(|s| s.topic.as_str() == "crash").count();
            if of_placed == ENDPOINTS_OF_PLACED.len() {
                return Ok::<_, tramline::Error>(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(SUBSCRIBED_WITHIN, wait).await {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no consumer subscribed within {SUBSCRIBED_WITHIN:?}")),
    }
}

/// One task: all messages of its keys, one batch after the other.
struct Line {
    name: String,
    journal: Journal,
    bus: Bus,
    numbers: Arc<AtomicU64>,
    dice: Dice,
}

impl Line {
    async fn publish_for_ever(mut self) -> Result<(), String> {
        loop {
            let batch = self.batch();
            let drafts: Vec<_> = batch.iter().map(|m| Draft::of(m).key(m.key.clone())).collect();
            let receipts = self.bus.publish_all(drafts).await;
            let mut confirmed = Vec::with_capacity(batch.len());
            for (message, receipt) in batch.iter().zip(receipts) {
                match receipt {
                    Ok(receipt) if receipt.routed == Some(false) => {
                        return Err(format!("{} was published into the void", message.number));
                    }
                    Ok(_) => confirmed.push(message.number),
                    Err(error) => tracing::warn!(%error, message.number, "not confirmed"),
                }
            }
            // What a full disk keeps out of the journal counts as never confirmed.
            if let Err(error) = self.journal.confirmed(&confirmed) {
                tracing::warn!(%error, "confirmed and not written down");
            }
            tokio::time::sleep(self.dice.millis(0..PAUSE_MS_MAX)).await;
        }
    }

    fn batch(&mut self) -> Vec<Placed> {
        let size = 1 + self.dice.below(BATCH_MAX);
        let mut message = || {
            let key = format!("{}-{}", self.name, self.dice.below(KEYS_OF_A_TASK));
            // Of one counter for all tasks: within each key they grow.
            Placed { number: self.numbers.fetch_add(1, Ordering::Relaxed), key }
        };
        (0..size).map(|_| message()).collect()
    }
}
