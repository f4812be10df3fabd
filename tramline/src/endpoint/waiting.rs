//! Those that wait for the turn of their key: taken and unsettled, so that they cost a place in the prefetch
//! and no slot.

use crate::endpoint::away::Away;
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

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    most: usize,
    /// Those included that may have killed the process: sent away, they would be forgotten to have.
    most_suspects: usize,
}

impl Room {
    /// Half of what is taken, and three quarters with those: who is taken alone does not wait, lest nobody else
    /// is taken.
    pub(crate) fn of(prefetch: u32) -> Self {
        let part = |quarters: usize| prefetch as usize * quarters / 4;
        Self { most: part(2), most_suspects: part(3) }
    }
}

/// The waiting room of an endpoint. It outlives its receivers. Ordered maps, so that a simulation can be
/// replayed.
pub(crate) struct WaitingRoom<D: Delivery> {
    shared: Arc<Shared>,
    /// What is given back while others are at work.
    at_work: TaskTracker,
    turns: Option<Arc<Turns>>,
    pace: Option<Pace>,
    /// `None`: all that are taken may wait, because what goes back would lose its place in the order.
    room: Option<Room>,
    /// The circuit breaker tries with a few: those that must wait would be in the way.
    is_narrow: bool,
    /// For how long one may wait; `None`: for ever.
    patience: Option<Duration>,
    /// Never empty.
    lines: BTreeMap<Arc<str>, VecDeque<Waiting<D>>>,
    waiting: usize,
    /// Keys whose turn it may be.
    up: VecDeque<Arc<str>>,
    /// When the rate lets the next of a key go.
    due: BTreeSet<(Timestamp, Arc<str>)>,
    /// When the first of a line has waited for too long.
    weary: BTreeSet<(Timestamp, Arc<str>)>,
    away: Away,
}

/// One that waits, behind those of its key that came before.
struct Waiting<D: Delivery> {
    delivery: Placed<D>,
    /// For how long at most.
    until: Option<Timestamp>,
}

/// Why one may not go.
enum Wait {
    /// As many of its key as may are at work, or others are before it.
    Turn,
    /// Its rate.
    Until(Timestamp),
}

impl<D: Delivery> WaitingRoom<D> {
    /// `None` if `limits` has none.
    pub(crate) fn of(
        limits: PerKey,
        room: Option<Room>,
        shared: &Arc<Shared>,
        at_work: &TaskTracker,
    ) -> Option<Self> {
        let clock = &shared.surroundings.composer.clock;
        let turns = limits.concurrency.map(|most| Arc::new(Turns::of(most)));
        let pace = limits.rate.map(|rate| Pace::of(rate, clock.clone()));
        if turns.is_none() && pace.is_none() {
            return None;
        }
        // The driver has had it for longer, and its handler takes time as well. In lanes nothing goes back:
        // `start()` sees to it that none waits for too long.
        let patience = room.and(shared.capabilities.hold_max).map(|hold_max| hold_max / 2);
        Some(Self {
            shared: shared.clone(),
            at_work: at_work.clone(),
            turns,
            pace,
            room,
            is_narrow: false,
            patience,
            lines: BTreeMap::new(),
            waiting: 0,
            up: VecDeque::new(),
            due: BTreeSet::new(),
            weary: BTreeSet::new(),
            away: Away::of(shared.capabilities.delay.and_then(|delay| delay.max)),
        })
    }

    /// Says whether a circuit breaker tries with what is taken from now on.
    pub(crate) fn set_narrow(&mut self, is_narrow: bool) {
        self.is_narrow = is_narrow;
    }

    /// Answers `delivery` if it may go at once; else it waits here, or goes back if too many do.
    pub(crate) fn enter(&mut self, delivery: Placed<D>) -> Option<Placed<D>> {
        let Some(key) = delivery.envelope().key.as_deref().map(Arc::<str>::from) else {
            return Some(delivery);
        };
        self.drop_lost_before(&key);
        let is_first = !self.lines.contains_key(&key);
        let wait = match is_first.then(|| self.go(&key)) {
            Some(Ok(turn)) => return Some(delivery.with_turn(turn)),
            Some(Err(wait)) => wait,
            None => Wait::Turn,
        };
        if self.is_too_much(&delivery, &key) {
            self.send_away(delivery, &key, wait);
            return None;
        }
        if let Wait::Until(then) = wait {
            self.due.insert((then, key.clone()));
        }
        let until = self.patience.map(|patience| self.shared.now().after(patience));
        if let Some(until) = until.filter(|_| is_first) {
            self.weary.insert((until, key.clone()));
        }
        self.lines.entry(key).or_default().push_back(Waiting { delivery, until });
        self.waiting += 1;
        None
    }

    /// One whose turn has come.
    pub(crate) fn next_ready(&mut self) -> Option<Placed<D>> {
        self.look();
        while let Some(key) = self.up.pop_front() {
            self.drop_lost_before(&key);
            if self.is_weary(&key) {
                if let Some(delivery) = self.pop(&key) {
                    self.send_away(delivery, &key, Wait::Turn);
                }
                continue;
            }
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
            if let Some(delivery) = self.pop(&key) {
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
        let firsts = self.due.first().into_iter().chain(self.weary.first());
        let first = firsts.map(|(then, _)| *then).min();
        let due = async {
            match first {
                Some(then) => {
                    self.shared.surroundings.composer.clock.sleep_at_most_until(then).await;
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

    /// Everybody who waits, those of one key in order; but for those in lanes, which stand there again.
    pub(crate) fn empty(&mut self) -> Vec<Placed<D>> {
        (self.waiting, self.up) = (0, VecDeque::new());
        (self.due, self.weary) = (BTreeSet::new(), BTreeSet::new());
        let waiting = std::mem::take(&mut self.lines).into_values().flatten();
        waiting.filter_map(|waiting| waiting.delivery.stand_again()).collect()
    }

    /// Finds the keys whose turn it may be.
    fn look(&mut self) {
        self.up.extend(self.turns.iter().flat_map(|turns| turns.freed()));
        if self.due.is_empty() && self.weary.is_empty() {
            return;
        }
        let now = self.shared.now();
        let period = self.pace.as_ref().map(Pace::period).unwrap_or_default();
        take_due(&mut self.due, now, period, &mut self.up);
        take_due(&mut self.weary, now, weary_at_most(self.patience), &mut self.up);
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
        let first = line.pop_front()?;
        self.waiting -= 1;
        if let Some(until) = first.until {
            self.weary.remove(&(until, key.clone()));
        }
        match line.front() {
            Some(next) => {
                self.weary.extend(next.until.map(|until| (until, key.clone())));
                // It may have a turn, too.
                self.up.push_back(key.clone());
            }
            None => drop(self.lines.remove(key)),
        }
        Some(first.delivery)
    }

    /// Lets go of those that are lost before the first of `key` that is not: they take nobody's turn.
    fn drop_lost_before(&mut self, key: &Arc<str>) {
        while self.lines.get(key).and_then(VecDeque::front).is_some_and(Waiting::is_lost) {
            drop(self.pop(key));
        }
    }

    fn drop_lost(&mut self) {
        self.weary.clear();
        self.lines.retain(|key, line| {
            line.retain(|waiting| !waiting.is_lost());
            let until = line.front().and_then(|first| first.until);
            self.weary.extend(until.map(|until| (until, key.clone())));
            !line.is_empty()
        });
        self.waiting = self.lines.values().map(VecDeque::len).sum();
    }

    /// Whether one of `key` is not to wait here.
    fn is_too_much(&mut self, delivery: &Placed<D>, key: &Arc<str>) -> bool {
        let Some(Room { most, most_suspects }) = self.room else { return false };
        if self.is_narrow || self.would_weary(key) {
            return true;
        }
        let may_kill = delivery.deliveries().is_some_and(|deliveries| deliveries > 1)
            || delivery.marks().trials > 0;
        let most = if may_kill { most_suspects.max(most) } else { most };
        if self.waiting >= most {
            self.drop_lost();
            // Those before it may have been lost.
            self.up.push_back(key.clone());
        }
        self.waiting >= most
    }

    /// Whether one that lines up now is sure to wait for too long.
    fn would_weary(&self, key: &Arc<str>) -> bool {
        let (Some(patience), Some(pace)) = (self.patience, &self.pace) else { return false };
        let line = self.lines.get(key).map_or(0, VecDeque::len);
        pace.period().saturating_mul(u32::try_from(line + 1).unwrap_or(u32::MAX)) > patience
    }

    /// Whether the first of `key` has waited for too long.
    fn is_weary(&self, key: &Arc<str>) -> bool {
        let first = self.lines.get(key).and_then(VecDeque::front);
        let until = first.and_then(|first| first.until);
        until.is_some_and(|until| is_due(until, self.shared.now(), weary_at_most(self.patience)))
    }

    /// Back to the queue, uncharged, until it may be its turn.
    fn send_away(&mut self, delivery: Placed<D>, key: &Arc<str>, wait: Wait) {
        let now = self.shared.now();
        let after = match (&self.pace, wait) {
            (None, _) => self.away.for_a_turn(key, now),
            (Some(pace), Wait::Until(then)) => self.away.until(key, then, pace.period(), now),
            (Some(pace), Wait::Turn) => {
                let line = self.lines.get(key).map_or(0, VecDeque::len) + 1;
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                let then = now.after(pace.period().saturating_mul(line));
                self.away.until(key, then, pace.period(), now)
            }
        };
        let (failures, marks) = (delivery.failures(), delivery.marks());
        let back = Settlement::Retry { after, failures, notes: Vec::new(), marks };
        let shared = self.shared.clone();
        self.at_work.spawn(async move {
            // Only dead letters are told of.
            settle(&shared, delivery, Action::Settle(back)).await;
        });
    }
}

impl<D: Delivery> Waiting<D> {
    fn is_lost(&self) -> bool {
        self.delivery.lost().now_or_never().is_some()
    }
}

/// The furthest away that a moment is at which somebody has waited for too long. A little more: clocks are set right
/// by little all the time, and who has just come is not sent away for that.
fn weary_at_most(patience: Option<Duration>) -> Duration {
    const SET_RIGHT_BY: Duration = Duration::from_secs(10);
    patience.unwrap_or_default().saturating_add(SET_RIGHT_BY)
}

/// Whether a time has come that was at most `longest` away. Is it further away now, the clock was set back.
fn is_due(then: Timestamp, now: Timestamp, longest: Duration) -> bool {
    then <= now || then.since(now) > longest.saturating_add(Duration::from_micros(1))
}

/// Moves from `times` to `keys` what [is due](is_due).
fn take_due(
    times: &mut BTreeSet<(Timestamp, Arc<str>)>,
    now: Timestamp,
    longest: Duration,
    keys: &mut VecDeque<Arc<str>>,
) {
    while times.first().is_some_and(|(then, _)| is_due(*then, now, longest)) {
        keys.extend(times.pop_first().map(|(_, key)| key));
    }
    while times.last().is_some_and(|(then, _)| is_due(*then, now, longest)) {
        keys.extend(times.pop_last().map(|(_, key)| key));
    }
}
