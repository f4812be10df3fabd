//! A process that publishes until it is killed.

use super::consumer::{ENDPOINTS_OF_PLACED, FILE, open};
use super::message::{Placed, first_number};
use super::processes::Round;
use crate::dice::Dice;
use crate::journal::Journal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tramline::core::clock::{Clock, SystemClock, Timestamp};
use tramline::sqlite::{Db, SqliteWriter};
use tramline::{Bus, Draft};

/// Each publishes one batch after the other.
const TASKS: u64 = 4;
const KEYS_OF_A_TASK: u64 = 3;
const BATCH_MAX: u64 = 4;
const PAUSE_MS_MAX: u64 = 20;
/// How many batches in a hundred are published in a transaction.
const WRITTEN_PERCENT: u64 = 20;
/// How many messages in a hundred are not to be handled at once.
const SCHEDULED_PERCENT: u64 = 5;
const DELAY_MS_MAX: u64 = 1500;
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
        let sqlite = open(&self.round, FILE).await?;
        let bus = Bus::builder(sqlite.clone()).publishes::<Placed>().start();
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
                store: bus.store(&sqlite),
                pause_millis_max: self.pause_millis_max(),
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

impl Producer {
    fn pause_millis_max(&self) -> u64 {
        // A batch has half of `BATCH_MAX` and a half; pauses are half as long as they may be.
        self.round.rate.map_or(PAUSE_MS_MAX, |rate| (BATCH_MAX + 1) * TASKS * 1000 / rate.max(1))
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
    store: SqliteWriter,
    pause_millis_max: u64,
    numbers: Arc<AtomicU64>,
    dice: Dice,
}

/// A message, and the moment that it is scheduled for.
struct Draw {
    placed: Placed,
    due: Option<Timestamp>,
}

impl Draw {
    fn draft(&self) -> Draft<'_, Placed> {
        let draft = Draft::of(&self.placed).key(self.placed.key.clone());
        self.due.into_iter().fold(draft, Draft::at)
    }
}

impl Line {
    async fn publish_for_ever(mut self) -> Result<(), String> {
        loop {
            let batch: Arc<[Draw]> = self.batch().into();
            let confirmed = if self.dice.percent(WRITTEN_PERCENT) {
                self.write(batch).await
            } else {
                self.publish(&batch).await?
            };
            // What a full disk keeps out of the journal counts as never confirmed.
            if let Err(error) = self.journal.confirmed(&confirmed) {
                tracing::warn!(%error, "confirmed and not written down");
            }
            tokio::time::sleep(self.dice.millis(0..self.pause_millis_max)).await;
        }
    }

    /// Publishes each by itself. Answers the numbers of those that were confirmed.
    async fn publish(&self, batch: &[Draw]) -> Result<Vec<u64>, String> {
        let receipts = self.bus.publish_all(batch.iter().map(Draw::draft)).await;
        let mut confirmed = Vec::with_capacity(batch.len());
        for (Draw { placed, .. }, receipt) in batch.iter().zip(receipts) {
            match receipt {
                Ok(receipt) if receipt.routed == Some(false) => {
                    return Err(format!("{} was published into the void", placed.number));
                }
                Ok(_) => confirmed.push(placed.number),
                Err(error) => tracing::warn!(%error, placed.number, "not confirmed"),
            }
        }
        Ok(confirmed)
    }

    /// Publishes all of them in one transaction.
    async fn write(&self, batch: Arc<[Draw]>) -> Vec<u64> {
        let numbers = batch.iter().map(|draw| draw.placed.number).collect();
        let publish = move |db: &Db<'_>| batch.iter().try_for_each(|draw| db.publish(draw.draft()));
        match self.store.write(publish).await {
            Ok(()) => numbers,
            Err(error) => {
                tracing::warn!(%error, ?numbers, "not confirmed");
                Vec::new()
            }
        }
    }

    fn batch(&mut self) -> Vec<Draw> {
        let size = 1 + self.dice.below(BATCH_MAX);
        (0..size).map(|_| self.draw()).collect()
    }

    fn draw(&mut self) -> Draw {
        // Of one counter for all tasks: within each key they grow.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let now = SystemClock.now();
        let scheduled = self.dice.percent(SCHEDULED_PERCENT);
        let due = scheduled.then(|| now.after(self.dice.millis(1..DELAY_MS_MAX)));
        let key = match due {
            // Alone in its key: it takes its place there when it is due.
            Some(_) => format!("{}-at-{number}", self.name),
            None => format!("{}-{}", self.name, self.dice.below(KEYS_OF_A_TASK)),
        };
        Draw { placed: Placed { number, key, since: due.unwrap_or(now).as_micros() }, due }
    }
}
