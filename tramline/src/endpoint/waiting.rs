//! Those that wait for the turn of their key: taken and unsettled, so that they cost a place in the prefetch
//! and no slot.

use crate::endpoint::placed::Placed;
use crate::endpoint::protection::PerKey;
use crate::endpoint::rate::Pace;
use crate::endpoint::settle::settle;
use crate::endpoint::settlement::Action;
use crate::endpoint::shared::Shared;
use crate::endpoint::turns::{Turn, Turns};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tramline_core::clock::Timestamp;
use tramline_core::settlement::Settlement;
use tramline_core::transport::Delivery;

/// How long a message stays away that waits for others of its key, when too many wait already.
const AWAY: Duration = Duration::from_secs(1);
/// The longest that any stays away.
const AWAY_MAX: Duration = Duration::from_secs(60 * 60);

/// The waiting room of an endpoint. It outlives its receivers. Ordered maps, so that a simulation can be
/// replayed.
pub(crate) struct WaitingRoom<D: Delivery> {
    shared: Arc<Shared>,
    /// What is given back while others are at work.
    at_work: TaskTracker,
    turns: Option<Arc<Turns>>,
    pace: Option<Pace>,
    /// How many may wait; `None`: all that are taken, because what goes back would lose its place in the order.
    room: Option<usize>,
    lines: BTreeMap<Arc<str>, Line<D>>,
    waiting: usize,
    /// Keys whose turn it may be.
    up: VecDeque<Arc<str>>,
    /// When the rate lets the next of a key go.
    due: BTreeSet<(Timestamp, Arc<str>)>,
}

/// Those of one key, in the order in which they came; never empty.
struct Line<D: Delivery> {
    waiting: VecDeque<Placed<D>>,
    /// The turn of the last one that was given back, at the key's rate.
    back_at: Timestamp,
}

/// Why one may not go.
enum Wait {
    /// As many of its key as may are at work.
    Turn,
    /// Its rate.
    Until(Timestamp),
}

impl<D: Delivery> WaitingRoom<D> {
    /// `None` if `limits` has none.
    pub(crate) fn of(
        limits: PerKey,
        room: Option<usize>,
        shared: &Arc<Shared>,
        at_work: &TaskTracker,
    ) -> Option<Self> {
        let clock = &shared.surroundings.composer.clock;
        let turns = limits.concurrency.map(|most| Arc::new(Turns::of(most)));
        let pace = limits.rate.map(|rate| Pace::of(rate, clock.clone()));
        if turns.is_none() && pace.is_none() {
            return None;
        }
        Some(Self {
            shared: shared.clone(),
            at_work: at_work.clone(),
            turns,
            pace,
            room,
            lines: BTreeMap::new(),
            waiting: 0,
            up: VecDeque::new(),
            due: BTreeSet::new(),
        })
    }

    /// Answers `delivery` if it may go at once; else it waits here, or goes back if too many do.
    pub(crate) fn enter(&mut self, delivery: Placed<D>) -> Option<Placed<D>> {
        let Some(key) = delivery.envelope().key.as_deref().map(Arc::<str>::from) else {
            return Some(delivery);
        };
        let is_first = !self.lines.contains_key(&key);
        let wait = match is_first.then(|| self.go(&key)) {
            Some(Ok(turn)) => return Some(delivery.with_turn(turn)),
            Some(Err(wait)) => Some(wait),
            None => None,
        };
        if self.room.is_some_and(|room| self.waiting >= room) {
            self.send_away(delivery, &key, wait);
            return None;
        }
        if let Some(Wait::Until(then)) = wait {
            self.due.insert((then, key.clone()));
        }
        let back_at = Timestamp::from_micros(i64::MIN);
        let line = || Line { waiting: VecDeque::new(), back_at };
        self.lines.entry(key).or_insert_with(line).waiting.push_back(delivery);
        self.waiting += 1;
        None
    }

    /// One whose turn has come.
    pub(crate) fn next_ready(&mut self) -> Option<Placed<D>> {
        self.look();
        while let Some(key) = self.up.pop_front() {
            if !self.lines.contains_key(&key) {
                continue;
            }
            let turn = match self.go(&key) {
                Ok(turn) => turn,
                Err(Wait::Turn) => continue,
                Err(Wait::Until(then)) => {
                    self.due.insert((then, key));
                    continue;
                }
            };
            let Some(delivery) = self.pop(&key) else { continue };
            // One that is lost is let go of here.
            if delivery.lost().now_or_never().is_none() {
                return Some(delivery.with_turn(turn));
            }
        }
        None
    }

    /// Ends when it may be somebody's turn. Cancel-safe; for one task.
    pub(crate) async fn changed(&self) {
        let freed = async {
            match &self.turns {
                Some(turns) => turns.changed().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match self.due.first() {
                Some((then, _)) => {
                    self.shared.surroundings.composer.clock.sleep_until(*then).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = freed => {}
            () = due => {}
        }
    }

    /// Everybody who waits, those of one key in order.
    pub(crate) fn empty(&mut self) -> Vec<Placed<D>> {
        (self.waiting, self.up, self.due) = (0, VecDeque::new(), BTreeSet::new());
        let lines = std::mem::take(&mut self.lines);
        lines.into_values().flat_map(|line| line.waiting).collect()
    }

    /// Finds the keys whose turn it may be.
    fn look(&mut self) {
        self.up.extend(self.turns.iter().flat_map(|turns| turns.freed()));
        if self.due.is_empty() {
            return;
        }
        let now = self.shared.now();
        while self.due.first().is_some_and(|(then, _)| *then <= now) {
            self.up.extend(self.due.pop_first().map(|(_, key)| key));
        }
    }

    /// One of `key` goes now.
    fn go(&self, key: &Arc<str>) -> Result<Option<Turn>, Wait> {
        let turn = match &self.turns {
            Some(turns) => Some(turns.take(key).ok_or(Wait::Turn)?),
            None => None,
        };
        if let Some(pace) = &self.pace {
            // A turn that is not used ends here.
            pace.take(key).map_err(Wait::Until)?;
        }
        Ok(turn)
    }

    fn pop(&mut self, key: &Arc<str>) -> Option<Placed<D>> {
        let line = self.lines.get_mut(key)?;
        let first = line.waiting.pop_front()?;
        self.waiting -= 1;
        if line.waiting.is_empty() {
            self.lines.remove(key);
        } else {
            // The next one may have a turn, too.
            self.up.push_back(key.clone());
        }
        Some(first)
    }

    /// Back to the queue, uncharged, until it may be its turn.
    fn send_away(&mut self, delivery: Placed<D>, key: &Arc<str>, wait: Option<Wait>) {
        let after = self.away(key, wait).min(AWAY_MAX);
        let delay_max = self.shared.capabilities.delay.and_then(|delay| delay.max);
        let after = delay_max.map_or(after, |max| after.min(max));
        let (failures, marks) = (delivery.failures(), delivery.marks());
        let back = Settlement::Retry { after, failures, notes: Vec::new(), marks };
        let shared = self.shared.clone();
        self.at_work.spawn(async move {
            // Only dead letters are told of.
            settle(&shared, delivery, Action::Settle(back)).await;
        });
    }

    /// For how long. At a rate each has a turn of its own, so that they do not all come again at once.
    fn away(&mut self, key: &Arc<str>, wait: Option<Wait>) -> Duration {
        let now = self.shared.now();
        match (&self.pace, self.lines.get_mut(key), wait) {
            (Some(pace), Some(line), _) => {
                let waiting = u32::try_from(line.waiting.len()).unwrap_or(u32::MAX);
                let last = now.after(pace.period().saturating_mul(waiting));
                line.back_at = line.back_at.max(last).after(pace.period());
                line.back_at.since(now)
            }
            (_, _, Some(Wait::Until(then))) => then.since(now),
            _ => AWAY,
        }
    }
}
