//! Producers with many messages in flight, until they are told to stop.

use super::message::{DIES, Placed};
use super::record::Record;
use super::waiting::{PATIENCE, drain, until};
use crate::dice::{Dice, mixed};
use crate::journal::Journal;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tramline::{Bus, BusBuilder, Draft};

/// How much later than its limit an answer may come, on a machine that has much else to do.
const LATE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What producers send.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) seed: u64,
    /// Larger than that of any load before on the same record.
    pub(crate) first_number: u64,
    pub(crate) tasks: u64,
    /// In flight of each task.
    pub(crate) batch: u64,
    /// Between two batches of a task.
    pub(crate) pause: Duration,
    /// Of each message.
    pub(crate) padding: usize,
    /// How many in a hundred fail once, and how many for good.
    pub(crate) fails_percent: u64,
    pub(crate) dies_percent: u64,
    /// How many in a hundred are delayed, and by how many milliseconds: by one of these.
    pub(crate) delayed_percent: u64,
    pub(crate) delay_millis: &'static [u64],
    /// Sends to this queue instead of publishing to all that subscribed.
    pub(crate) to_queue: Option<&'static str>,
    /// How many keys each task has for itself; within each, numbers grow.
    pub(crate) keys: u64,
    /// Within it each publish is answered.
    pub(crate) limit: Duration,
}

impl Style {
    /// Events, some of which fail, some of which are delayed.
    pub(crate) fn mixed(seed: u64) -> Self {
        Self {
            seed,
            first_number: 0,
            tasks: 8,
            batch: 50,
            pause: Duration::from_millis(200),
            padding: 100,
            fails_percent: 3,
            dies_percent: 1,
            delayed_percent: 5,
            delay_millis: &[300, 1200, 2500],
            to_queue: None,
            keys: 0,
            limit: Duration::from_secs(15),
        }
    }

    /// Messages that neither wait nor fail.
    fn plainly(&self) -> Self {
        Self { fails_percent: 0, dies_percent: 0, delayed_percent: 0, ..self.clone() }
    }

    /// Events that are handled at once.
    pub(crate) fn plain(seed: u64) -> Self {
        Self::mixed(seed).plainly()
    }
}

/// Producers at work on a bus of their own.
pub(crate) struct Load {
    pub(crate) bus: Bus,
    told: Arc<Told>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), String>>,
}

/// What producers were told so far.
#[derive(Default)]
struct Told {
    /// The next number.
    next: AtomicU64,
    confirmed: AtomicU64,
    errors: AtomicU64,
    slowest: Mutex<Duration>,
    fastest_error: Mutex<Option<Duration>>,
    last_error: Mutex<String>,
}

/// What producers were told in all.
pub(crate) struct Answers {
    pub(crate) errors: u64,
    /// How long the slowest publish took.
    pub(crate) slowest: Duration,
    /// How long the fastest of those took that were answered with an error.
    pub(crate) fastest_error: Option<Duration>,
}

impl Load {
    /// Begins to produce on a bus that has neither endpoints nor producers yet.
    pub(crate) async fn start(
        bus: BusBuilder,
        record: &Record,
        style: &Style,
    ) -> Result<Self, String> {
        let started = bus.publishes::<Placed>().send_limit(style.limit).start().await;
        let bus = started.map_err(|error| error.to_string())?;
        let next = AtomicU64::new(style.first_number);
        let told = Arc::new(Told { next, ..Told::default() });
        let (stop, tasks) = (CancellationToken::new(), JoinSet::new());
        let mut load = Self { bus, told, stop, tasks };
        for task in 0..style.tasks {
            let seed = mixed(style.seed ^ (task << 56));
            let line = load.line(record, &task.to_string(), &Style { seed, ..style.clone() })?;
            load.tasks.spawn(line.produce_until(load.stop.clone()));
        }
        Ok(load)
    }

    /// Waits until so many more are confirmed, while something tries to prevent it.
    pub(crate) async fn progress(&mut self, more: u64) -> Result<(), String> {
        let before = self.confirmed();
        let deadline = Instant::now() + PATIENCE;
        while self.confirmed() < before + more {
            if let Some(ended) = self.tasks.try_join_next() {
                return Err(format!("a producer ended: {ended:?}"));
            }
            if Instant::now() >= deadline {
                let now = self.confirmed() - before;
                let (health, error) = (self.bus.health(), self.told.last_error.lock());
                return Err(format!(
                    "within {PATIENCE:?} only {now} of {more} were confirmed; {health}; the last \
                     error: {error}"
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The number that is given out next: whatever begins from now on has it or a larger one.
    pub(crate) fn next_number(&self) -> u64 {
        self.told.next.load(Ordering::SeqCst)
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.told.confirmed.load(Ordering::SeqCst)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.told.errors.load(Ordering::SeqCst)
    }

    /// Waits until a message was not confirmed, for a reason that has these words in it.
    pub(crate) async fn refusal(&self, words: &str) -> Result<(), String> {
        let is_refused = || self.told.last_error.lock().contains(words);
        until(is_refused, || format!("no publish failed with {words:?}")).await
    }

    /// Stops, once what is under way was answered.
    pub(crate) async fn stop(&mut self) -> Result<(), String> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Sends a message through each stage that a delay of up to 20 s may need: how many milliseconds
    /// are left of it when it leaves is the machine's to say.
    pub(crate) async fn visit_stages(&self, record: &Record, style: &Style) -> Result<(), String> {
        let mut line = self.line(record, "visitor", &style.plainly())?;
        let below_a_second = (1..20).map(|fiftieths| Duration::from_millis(50 * fiftieths));
        let seconds = (1..=10).map(Duration::from_secs);
        let delays: Vec<Duration> = below_a_second.chain(seconds).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let delayed = |delay: &Duration| Draw { delay: Some(*delay), ..line.draw() };
            let batch: Vec<Draw> = delays.iter().map(delayed).collect();
            let (all, before) = (batch.len() as u64, line.confirmed);
            line.send(batch).await?;
            // Those that a busy broker did not take in time are not there for sure.
            if line.confirmed - before == all {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("within {PATIENCE:?} not all stages took a message"));
            }
        }
    }

    /// Sends one batch more, which is behind all others.
    pub(crate) async fn last_words(&self, record: &Record, style: &Style) -> Result<(), String> {
        let style = Style { batch: 1, ..style.plainly() };
        self.line(record, "last", &style)?.produce().await
    }

    /// Closes the bus of the producers, which have stopped.
    pub(crate) async fn close(self) -> Result<Answers, String> {
        drain(&self.bus).await?;
        let Told { slowest, fastest_error, .. } = &*self.told;
        let (slowest, fastest_error) = (*slowest.lock(), *fastest_error.lock());
        Ok(Answers { errors: self.errors(), slowest, fastest_error })
    }

    fn line(&self, record: &Record, name: &str, style: &Style) -> Result<Line, String> {
        let journal = record.of_producer(name).map_err(|error| error.to_string())?;
        let dice = Dice::new(style.seed);
        let (bus, told) = (self.bus.clone(), self.told.clone());
        Ok(Line {
            name: name.to_owned(),
            bus,
            journal,
            told,
            dice,
            style: style.clone(),
            confirmed: 0,
        })
    }
}

/// One task, which sends one batch after the other.
struct Line {
    name: String,
    bus: Bus,
    journal: Journal,
    told: Arc<Told>,
    dice: Dice,
    style: Style,
    confirmed: u64,
}

/// A message, and for how long it is to wait.
struct Draw {
    placed: Placed,
    delay: Option<Duration>,
}

impl Draw {
    fn draft(&self) -> Draft<'_, Placed> {
        let draft = self.delay.into_iter().fold(Draft::of(&self.placed), Draft::delay);
        let key = Some(&self.placed.key).filter(|key| !key.is_empty());
        key.into_iter().fold(draft, |draft, key| draft.key(key.clone()))
    }
}

impl Line {
    async fn produce_until(mut self, stop: CancellationToken) -> Result<(), String> {
        while !stop.is_cancelled() {
            self.produce().await?;
            let _ = tokio::time::timeout(self.style.pause, stop.cancelled()).await;
        }
        Ok(())
    }

    async fn produce(&mut self) -> Result<(), String> {
        let batch: Vec<Draw> = (0..self.style.batch).map(|_| self.draw()).collect();
        self.send(batch).await
    }

    async fn send(&mut self, batch: Vec<Draw>) -> Result<(), String> {
        let drafts = batch.iter().map(Draw::draft);
        let begun = Instant::now();
        let receipts = match self.style.to_queue {
            Some(queue) => self.bus.send_all(queue, drafts).await,
            None => self.bus.publish_all(drafts).await,
        };
        let took = begun.elapsed();
        if took > self.style.limit + LATE {
            return Err(format!("a publish took {took:?}, its limit is {:?}", self.style.limit));
        }
        let mut confirmed = Vec::with_capacity(batch.len());
        for (Draw { placed, .. }, receipt) in batch.iter().zip(receipts) {
            match receipt {
                // Nobody has subscribed at this moment, and it is nowhere.
                Ok(receipt) if receipt.routed == Some(false) => {
                    self.errs(format!("{} reached nobody", placed.number));
                }
                Ok(_) => confirmed.push(placed.number),
                Err(error) => self.errs(error.to_string()),
            }
        }
        self.journal.note(&confirmed).map_err(|error| error.to_string())?;
        self.confirmed += confirmed.len() as u64;
        self.told.confirmed.fetch_add(confirmed.len() as u64, Ordering::SeqCst);
        let mut slowest = self.told.slowest.lock();
        *slowest = took.max(*slowest);
        if confirmed.len() < batch.len() {
            let mut fastest = self.told.fastest_error.lock();
            *fastest = Some(fastest.map_or(took, |fastest| fastest.min(took)));
        }
        Ok(())
    }

    fn errs(&self, error: String) {
        self.told.errors.fetch_add(1, Ordering::SeqCst);
        *self.told.last_error.lock() = error;
    }

    fn draw(&mut self) -> Draw {
        let number = self.told.next.fetch_add(1, Ordering::SeqCst);
        let Style { fails_percent, dies_percent, delayed_percent, .. } = self.style;
        let drawn = self.dice.below(100);
        let fails = match drawn {
            _ if drawn < dies_percent => DIES,
            _ if drawn < dies_percent + fails_percent => 1,
            _ => 0,
        };
        let delayed = self.dice.percent(delayed_percent);
        let choices = self.style.delay_millis;
        let chosen = self.dice.below(choices.len() as u64) as usize;
        let delay = choices.get(chosen).filter(|_| delayed).copied().map(Duration::from_millis);
        let padding = "x".repeat(self.style.padding);
        let key = match self.style.keys {
            0 => String::new(),
            keys => format!("{}-{}", self.name, self.dice.below(keys)),
        };
        Draw { placed: Placed { number, key, fails, padding }, delay }
    }
}
