//! Batches are gathered: of all that comes, or each of what comes of one key.

use crate::endpoint::pausing::{Gate, shut};
use crate::endpoint::placed::Placed;
use crate::endpoint::shared::Shared;
use futures_util::FutureExt;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::transport::{Delivery, Receiver};
use tramline_core::{Error, Result};

/// How large a batch may be, how long it waits for more when it is not full, and of what it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathering {
    pub(crate) size_max: usize,
    pub(crate) wait: Duration,
    /// A batch holds messages of one key, or those that have none.
    pub(crate) per_key: bool,
}

/// What was gathered.
pub(crate) struct Gathered<D: Delivery> {
    pub(crate) batch: Vec<Placed<D>>,
    /// The receiver is of no use any more; what it delivered is.
    pub(crate) error: Option<Error>,
}

/// How many batches that are full go before one that is not, and has waited.
const OVERTAKES_MAX: u32 = 4;

/// The batches that grow: taken, unsettled, and together at most what the receivers may hold.
pub(crate) struct Gatherer<D: Delivery> {
    gathering: Gathering,
    /// By the order of their first messages.
    growing: BTreeMap<u64, Growing<D>>,
    by_key: HashMap<Option<String>, u64>,
    began: u64,
    /// How many messages there are in all of them, and how many there can be.
    held: usize,
    held_max: usize,
    /// How many have gone before the oldest of them.
    overtakes: u32,
}

struct Growing<D: Delivery> {
    key: Option<String>,
    batch: Vec<Placed<D>>,
    /// It waits for more until then.
    until: Timestamp,
}

impl<D: Delivery> Gatherer<D> {
    /// For receivers that hold at most `held_max` messages.
    pub(crate) fn new(gathering: Gathering, held_max: u32) -> Self {
        Self {
            gathering,
            growing: BTreeMap::new(),
            by_key: HashMap::new(),
            began: 0,
            held: 0,
            held_max: held_max as usize,
            overtakes: 0,
        }
    }

    /// Whether nothing waits to be a batch.
    pub(crate) fn is_empty(&self) -> bool {
        self.growing.is_empty()
    }

    /// The next batch: what is full first, else what began first, with what is there at once and what comes within
    /// its wait. `None` if there is nothing that it could begin with.
    pub(crate) async fn gather<R: Receiver<Delivery = Placed<D>>>(
        &mut self,
        shared: &Shared,
        receiver: &mut R,
        first: Option<Placed<D>>,
        gate: &Option<Gate>,
    ) -> Option<Gathered<D>> {
        let clock = &shared.surroundings.composer.clock;
        let Gathering { size_max, wait, per_key } = self.gathering;
        let until = || clock.now().after(wait);
        // One message, while its endpoint's circuit breaker tries: a bad one keeps no others from being tried.
        let is_narrow = gate.as_ref().is_some_and(Gate::is_narrow);
        let size_max = if is_narrow { 1 } else { size_max };
        if let Some(batch) = first.and_then(|first| self.put(first, until, size_max)) {
            return Some(Gathered { batch, error: None });
        }
        let oldest = self.growing.first_key_value()?.1.until;
        // A stream of other keys must not keep it.
        if self.overtakes >= OVERTAKES_MAX && oldest <= clock.now() {
            return self.take_oldest().map(|batch| Gathered { batch, error: None });
        }
        let mut late = clock.sleep_until(oldest);
        loop {
            // Unconstrained: else a full queue would seem empty when the task's budget is spent. What is
            // taken is bounded, and its task yields when a batch is full.
            let at_once = tokio::task::coop::unconstrained(receiver.next()).now_or_never();
            let next: Result<Option<Placed<D>>> = match at_once {
                Some(next) => next,
                None if wait.is_zero() => break,
                None => tokio::select! {
                    biased;
                    next = receiver.next() => next,
                    () = &mut late => break,
                    () = shared.surroundings.stopping.begun() => break,
                    () = shut(gate) => break,
                },
            };
            let error = match next {
                Ok(Some(delivery)) => {
                    if let Some(batch) = self.put(delivery, until, size_max) {
                        return Some(Gathered { batch, error: None });
                    }
                    // It is not kept by a stream of other keys; nor does it wait where nothing more can come.
                    let is_late = per_key && !wait.is_zero() && oldest <= clock.now();
                    if is_late || self.held >= self.held_max {
                        break;
                    }
                    continue;
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            return self.take_oldest().map(|batch| Gathered { batch, error });
        }
        self.take_oldest().map(|batch| Gathered { batch, error: None })
    }

    /// Answers the batch that is full now.
    fn put(
        &mut self,
        delivery: Placed<D>,
        until: impl FnOnce() -> Timestamp,
        size_max: usize,
    ) -> Option<Vec<Placed<D>>> {
        let key = self.gathering.per_key.then(|| delivery.envelope().key.clone()).flatten();
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => {
                self.began += 1;
                self.by_key.insert(key.clone(), self.began);
                self.growing.insert(self.began, Growing { key, batch: Vec::new(), until: until() });
                self.began
            }
        };
        let growing = self.growing.get_mut(&number)?;
        growing.batch.push(delivery);
        self.held += 1;
        let is_full = growing.batch.len() >= size_max;
        if is_full { self.take(number) } else { None }
    }

    /// The batch that began first.
    pub(crate) fn take_oldest(&mut self) -> Option<Vec<Placed<D>>> {
        let (number, _) = self.growing.first_key_value()?;
        self.take(*number)
    }

    fn take(&mut self, number: u64) -> Option<Vec<Placed<D>>> {
        let is_oldest = self.growing.first_key_value().is_some_and(|(oldest, _)| *oldest == number);
        self.overtakes = if is_oldest { 0 } else { self.overtakes + 1 };
        let Growing { key, batch, .. } = self.growing.remove(&number)?;
        self.by_key.remove(&key);
        self.held -= batch.len();
        Some(batch)
    }

    /// Lets go of everything that grows: what has a place in a lane stands there again, and the rest, which is
    /// answered, is to be returned.
    pub(crate) fn let_go(&mut self) -> Vec<Placed<D>> {
        let batches = std::iter::from_fn(|| self.take_oldest());
        batches.flatten().filter_map(Placed::stand_again).collect()
    }
}
