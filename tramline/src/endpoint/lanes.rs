//! Lanes: order by key where the broker does not lock keys.
//!
//! Of each key one delivery is out at a time, in the order of arrival; the others wait here, taken
//! and unsettled, so that they cost a place in the prefetch and no slot. What ends unsettled breaks
//! its lane: it comes again, and whatever is behind it must not overtake it.

use crate::endpoint::placed::{Course, Place, Placed};
use crate::endpoint::settle::return_all;
use crate::pipeline::Surroundings;
use futures_util::FutureExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tramline_core::capabilities::Ordering;
use tramline_core::envelope::Envelope;
use tramline_core::transport::Delivery;

/// The lanes of one endpoint in this process. They outlive its receivers: what one of these has
/// delivered is still at work when the next begins.
pub(crate) struct Lanes<D> {
    ordering: Ordering,
    pub(crate) surroundings: Arc<Surroundings>,
    /// Everything that pauses in a lane.
    pub(crate) at_work: TaskTracker,
    state: Mutex<State<D>>,
    changed: Notify,
}

/// Ordered maps, so that a simulation can be replayed.
struct State<D> {
    /// A lane is here for as long as a delivery of it is out, or it is broken.
    lanes: BTreeMap<Arc<str>, Lane<D>>,
    /// Those whose turn it is, to be handed out.
    ready: VecDeque<(Arc<str>, Standing<D>)>,
    /// Whether any lane is broken.
    is_broken: bool,
}

struct Lane<D> {
    behind: VecDeque<Standing<D>>,
    is_broken: bool,
}

/// A delivery that waits, and what happened to it since it was taken.
pub(crate) struct Standing<D> {
    pub(crate) delivery: D,
    pub(crate) course: Course,
}

impl<D: Delivery> Lanes<D> {
    pub(crate) fn new(
        ordering: Ordering,
        surroundings: Arc<Surroundings>,
        at_work: TaskTracker,
    ) -> Self {
        let state = State { lanes: BTreeMap::new(), ready: VecDeque::new(), is_broken: false };
        let state = Mutex::new(state);
        Self { ordering, surroundings, at_work, state, changed: Notify::new() }
    }

    /// Lines `delivery` up. Answers it if nobody is before it, or it is in no order.
    pub(crate) fn join(self: &Arc<Self>, delivery: D) -> Option<Placed<D>> {
        let Some(key) = self.key(delivery.envelope()) else {
            return Some(Placed::free(delivery));
        };
        let course = Course::of(&delivery, self.surroundings.composer.clock.now());
        let mut state = self.state.lock();
        if let Some(lane) = state.lanes.get_mut(&key) {
            lane.behind.push_back(Standing { delivery, course });
            return None;
        }
        let lane = Lane { behind: VecDeque::new(), is_broken: false };
        state.lanes.insert(key.clone(), lane);
        drop(state);
        Some(Placed::new(delivery, Place::new(self, key), course))
    }

    /// A delivery whose turn has come.
    pub(crate) fn next_ready(self: &Arc<Self>) -> Option<Placed<D>> {
        let (key, Standing { delivery, course }) = self.state.lock().ready.pop_front()?;
        let is_lost = delivery.lost().now_or_never().is_some();
        let placed = Placed::new(delivery, Place::new(self, key), course);
        // One that is lost is let go of here, and breaks its lane.
        (!is_lost).then_some(placed)
    }

    /// Ends when something has changed since it ended last. Cancel-safe; for one task.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.lock().is_broken
    }

    /// The head of a lane is settled for good: the next one's turn.
    pub(super) fn go_on(&self, key: &Arc<str>) {
        let mut state = self.state.lock();
        let next = state.lanes.get_mut(key).and_then(|lane| lane.behind.pop_front());
        match next {
            Some(next) => state.ready.push_back((key.clone(), next)),
            None => drop(state.lanes.remove(key)),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The head of a lane is to be handed out again.
    pub(super) fn stand_again(&self, key: &Arc<str>, standing: Standing<D>) {
        self.state.lock().ready.push_back((key.clone(), standing));
        self.changed.notify_one();
    }

    /// The head of a lane is gone and not settled for good.
    pub(super) fn break_lane(&self, key: &Arc<str>) {
        let mut state = self.state.lock();
        if let Some(lane) = state.lanes.get_mut(key) {
            lane.is_broken = true;
            state.is_broken = true;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Gives back what waits in broken lanes, in order, and forgets these.
    pub(crate) async fn give_back_broken(&self) {
        let broken = self.state.lock().take_broken();
        return_all(broken, &self.surroundings.stopping).await;
    }

    /// Gives back everything that waits, what is behind a delivery at work after that has ended.
    pub(crate) async fn give_back_all(&self) {
        while !self.give_back_if(|_| true).await {
            self.changed().await;
        }
    }

    /// Gives back what waits behind nothing that has begun here. What has stays, with what is behind it:
    /// what is known of it would be forgotten, and brokers that count would take it for a killer.
    pub(crate) async fn give_back_unbegun(&self) {
        self.give_back_if(|head| !head.course.has_paused()).await;
    }

    /// Answers whether nothing is left.
    async fn give_back_if(&self, goes: impl Fn(&Standing<D>) -> bool) -> bool {
        let (idle, is_empty) = {
            let mut state = self.state.lock();
            let mut idle = state.take_ready(goes);
            idle.extend(state.take_broken());
            (idle, state.lanes.is_empty())
        };
        return_all(idle, &self.surroundings.stopping).await;
        is_empty
    }

    fn key(&self, envelope: &Envelope) -> Option<Arc<str>> {
        match self.ordering {
            Ordering::None => None,
            Ordering::PerKey => envelope.key.as_deref().map(Arc::from),
            Ordering::PerQueue => Some("".into()),
        }
    }
}

impl<D> State<D> {
    fn take_broken(&mut self) -> Vec<D> {
        let mut taken = Vec::new();
        self.is_broken = false;
        self.lanes.retain(|_, lane| {
            if lane.is_broken {
                taken.extend(lane.behind.drain(..).map(|standing| standing.delivery));
            }
            !lane.is_broken
        });
        taken
    }

    fn take_ready(&mut self, goes: impl Fn(&Standing<D>) -> bool) -> Vec<D> {
        let mut taken = Vec::new();
        for (key, head) in std::mem::take(&mut self.ready) {
            if !goes(&head) {
                self.ready.push_back((key, head));
                continue;
            }
            let behind = self.lanes.remove(&key).map(|lane| lane.behind);
            let line = std::iter::once(head).chain(behind.unwrap_or_default());
            taken.extend(line.map(|standing| standing.delivery));
        }
        taken
    }
}
