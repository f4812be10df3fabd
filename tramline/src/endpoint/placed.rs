//! A delivery and its place in a lane, if it has one.

use crate::breaker::Permit;
use crate::endpoint::lanes::{Lanes, Standing};
use crate::endpoint::settle::return_all;
use crate::endpoint::turns::Turn;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{FailureNote, History};
use tramline_core::envelope::Envelope;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Ticket};

/// What an endpoint works on.
pub(crate) struct Placed<D: Delivery> {
    delivery: D,
    /// In a box, because few deliveries are in one and all of them move often.
    in_lane: Option<Box<(Place<D>, Course)>>,
    /// Its turn among those of its key, where these are limited; until it is settled. In a box for the same reason.
    turn: Option<Box<Turn>>,
    /// Its place among those with which a circuit breaker tries, until it runs.
    permit: Option<Box<Permit>>,
}

/// The head of a lane, until it is settled for good; dropped before, it breaks the lane.
pub(crate) struct Place<D: Delivery> {
    lanes: Arc<Lanes<D>>,
    key: Arc<str>,
    goes_on: bool,
}

/// What happened to a delivery since it was taken. It is written down when the delivery is settled;
/// a crash forgets it.
pub(crate) struct Course {
    /// A driver that fetches ahead has had it for longer: should the broker end the delivery for
    /// that, it is lost, and its lane begins anew.
    taken_at: Timestamp,
    failures: u32,
    /// Of runs that ended in a pause in the lane.
    notes: Vec<FailureNote>,
    /// Those, behind what is recorded.
    history: History,
    marks: Marks,
    deliveries: Option<u32>,
    /// It has been handled here, and what came of that is written down nowhere.
    has_paused: bool,
}

/// What is known of a message that waits in its lane until it is handled again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hold {
    pub(crate) after: Duration,
    pub(crate) failures: u32,
    /// What went wrong since it was handed out last.
    pub(crate) notes: Vec<FailureNote>,
    pub(crate) marks: Marks,
    /// Its handler has begun since it was handed out last.
    pub(crate) has_begun: bool,
}

impl Course {
    pub(crate) fn of<D: Delivery>(delivery: &D, now: Timestamp) -> Self {
        let mut history = History::new();
        delivery.history().iter().cloned().for_each(|note| history.push(note));
        Self {
            taken_at: now,
            failures: delivery.failures(),
            notes: Vec::new(),
            history,
            marks: delivery.marks(),
            deliveries: delivery.deliveries(),
            has_paused: false,
        }
    }

    /// Charged as a retry by the broker would charge it, which begins to count deliveries anew; not if nothing has
    /// happened.
    fn charge(&mut self, hold: Hold) {
        if !hold.has_begun {
            self.marks = hold.marks;
            return;
        }
        self.failures = hold.failures;
        hold.notes.iter().cloned().for_each(|note| self.history.push(note));
        self.notes.extend(hold.notes);
        self.marks = hold.marks;
        self.deliveries = self.deliveries.map(|_| 1);
        self.has_paused = true;
    }

    pub(super) fn has_paused(&self) -> bool {
        self.has_paused
    }

    /// `how`, with what went wrong before.
    fn complete(&mut self, mut how: Settlement) -> Settlement {
        if let Settlement::Retry { notes, .. } | Settlement::DeadLetter { notes, .. } = &mut how {
            notes.splice(..0, self.notes.drain(..));
        }
        how
    }
}

impl<D: Delivery> Place<D> {
    pub(super) fn new(lanes: &Arc<Lanes<D>>, key: Arc<str>) -> Self {
        Self { lanes: lanes.clone(), key, goes_on: false }
    }

    /// The message is settled for good: the next one's turn.
    fn go_on(mut self) {
        self.goes_on = true;
        self.lanes.go_on(&self.key);
    }

    /// It is this one's turn again.
    fn stand_again(mut self, delivery: D, course: Course) {
        self.goes_on = true;
        self.lanes.stand_again(&self.key, Standing { delivery, course });
    }
}

impl<D: Delivery> Drop for Place<D> {
    fn drop(&mut self) {
        if !self.goes_on {
            self.lanes.break_lane(&self.key);
        }
    }
}

impl<D: Delivery> Placed<D> {
    /// One that is in no lane.
    pub(crate) fn free(delivery: D) -> Self {
        Self { delivery, in_lane: None, turn: None, permit: None }
    }

    pub(super) fn new(delivery: D, place: Place<D>, course: Course) -> Self {
        Self { delivery, in_lane: Some(Box::new((place, course))), turn: None, permit: None }
    }

    /// The same, at its turn.
    pub(crate) fn with_turn(self, turn: Option<Turn>) -> Self {
        Self { turn: turn.map(Box::new), ..self }
    }

    /// The same, as one with which a circuit breaker tries.
    pub(crate) fn with_permit(self, permit: Permit) -> Self {
        Self { permit: Some(Box::new(permit)), ..self }
    }

    pub(crate) fn take_permit(&mut self) -> Option<Box<Permit>> {
        self.permit.take()
    }

    /// Back to its place in its lane, where it is handed out again; answers it if it is in none.
    pub(crate) fn stand_again(self) -> Option<Self> {
        let Some(in_lane) = self.in_lane else { return Some(Self { in_lane: None, ..self }) };
        let (place, course) = *in_lane;
        place.stand_again(self.delivery, course);
        None
    }

    /// For how long it may still wait in its lane, if it is in one and the broker lets it stay
    /// unsettled for `hold_max`.
    pub(crate) fn hold_left(&self, hold_max: Option<Duration>, now: Timestamp) -> Option<Duration> {
        let held = now.since(self.course()?.taken_at);
        Some(hold_max.map_or(Duration::MAX, |max| max.saturating_sub(held)))
    }

    /// Waits in its lane, and is then handed out again. A drain and a lost lease end the wait: it
    /// is given back to its old place in the queue, and what this process has charged it with is
    /// forgotten. A retry would write that down, and let others overtake it.
    pub(crate) fn hold(self, hold: Hold) {
        let Self { delivery, in_lane: Some(in_lane), .. } = self else { return };
        let (place, mut course) = *in_lane;
        let surroundings = place.lanes.surroundings.clone();
        let clock = &surroundings.composer.clock;
        let over = clock.sleep_at_most_until(clock.now().after(hold.after));
        course.charge(hold);
        place.lanes.at_work.clone().spawn(async move {
            tokio::select! {
                biased;
                () = surroundings.stopping.begun() => {}
                () = delivery.lost() => {}
                () = over => return place.stand_again(delivery, course),
            }
            return_all(vec![delivery], &surroundings.stopping).await;
            // What is behind it goes back after it.
            drop(place);
        });
    }

    fn course(&self) -> Option<&Course> {
        self.in_lane.as_deref().map(|(_, course)| course)
    }
}

impl<D: Delivery> Delivery for Placed<D> {
    fn envelope(&self) -> &Arc<Envelope> {
        self.delivery.envelope()
    }

    fn failures(&self) -> u32 {
        self.course().map_or_else(|| self.delivery.failures(), |course| course.failures)
    }

    fn deliveries(&self) -> Option<u32> {
        self.course().map_or_else(|| self.delivery.deliveries(), |course| course.deliveries)
    }

    fn history(&self) -> &[FailureNote] {
        self.course().map_or_else(|| self.delivery.history(), |course| course.history.notes())
    }

    fn marks(&self) -> Marks {
        self.course().map_or_else(|| self.delivery.marks(), |course| course.marks)
    }

    fn ticket(&self) -> Option<Ticket> {
        self.delivery.ticket()
    }

    async fn mark_trial(&mut self) -> Result<()> {
        self.delivery.mark_trial().await?;
        if let Some((_, course)) = self.in_lane.as_deref_mut() {
            course.marks.trials = course.marks.trials.saturating_add(1);
        }
        Ok(())
    }

    async fn lost(&self) {
        self.delivery.lost().await;
    }

    async fn settle(self, how: Settlement) -> Result<Settled> {
        let Self { delivery, in_lane, turn: _turn, permit: _ } = self;
        let Some(in_lane) = in_lane else { return delivery.settle(how).await };
        let (place, mut course) = *in_lane;
        let is_final = how != Settlement::Return;
        let settled = delivery.settle(course.complete(how)).await?;
        if is_final && settled == Settled::Done {
            place.go_on();
        }
        Ok(settled)
    }

    fn settled_by_store(self) {
        self.delivery.settled_by_store();
        if let Some(in_lane) = self.in_lane {
            in_lane.0.go_on();
        }
    }
}
