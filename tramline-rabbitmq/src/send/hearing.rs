//! The task that hears what becomes of all that is in flight on one channel.

use super::channel::{Ended, Fresh, Line, Outcome, Publication, Waiter};
use super::in_flight::Flight;
use super::returns::{Returns, Verdict};
use crate::link::Session;
use std::future::{pending, poll_fn};
use std::mem::{swap, take};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tramline_core::BoxFuture;
use tramline_core::clock::{Clock, SystemClock, Timestamp};

/// Hears until nothing more is published on the line, or it is broken.
pub(super) async fn hear_all(mut under_way: UnderWay, session: Session) {
    /// For what was under way when the channel broke: it ends with that.
    const END_LIMIT: Duration = Duration::from_secs(1);
    let mut deadline = NextDeadline::default();
    while under_way.broken.is_none() {
        tokio::select! {
            biased;
            goes_on = under_way.hear_until(&mut deadline) => if !goes_on { break },
            () = session.ended() => break,
        }
    }
    under_way.is_over = true;
    under_way.line.close();
    // Some were confirmed before, and of the others only those that the broker had say why it broke.
    let rest = async { while under_way.hear_until(&mut deadline).await {} };
    let _ = tokio::time::timeout(END_LIMIT, rest).await;
}

/// What was handed to the client and is not answered yet.
pub(super) struct UnderWay {
    line: Arc<Line>,
    returns: Returns<Waiter>,
    /// Why the channel broke, if it has.
    broken: Option<lapin::Error>,
    /// Nothing more is handed to the client.
    is_over: bool,
    /// Whether what the client could not write may have been: a write that fails over TLS may have
    /// encrypted and sent a part of its bytes before.
    over_tls: bool,
    /// As it was when what was published was taken over last.
    earliest_deadline: Option<Timestamp>,
    // Kept from one turn to the next.
    fresh: Vec<Fresh>,
    woken: Vec<u64>,
    spare: Vec<Flight<Ended>>,
    settled: Vec<(Waiter, Verdict)>,
}

impl UnderWay {
    /// Of `line`, which is encrypted if it is `over_tls`.
    pub(super) fn on(line: Arc<Line>, over_tls: bool) -> Self {
        Self {
            line,
            returns: Returns::new(),
            broken: None,
            is_over: false,
            over_tls,
            earliest_deadline: None,
            fresh: Vec::new(),
            woken: Vec::new(),
            spare: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// [`hear`](Self::hear), or tells those whose time is up at the next `deadline`, which it sets.
    async fn hear_until(&mut self, deadline: &mut NextDeadline) -> bool {
        let goes_on = tokio::select! {
            biased;
            () = deadline.passes() => {
                self.tell_late();
                true
            }
            goes_on = self.hear() => goes_on,
        };
        deadline.set(self.earliest_deadline);
        goes_on
    }

    /// Ends when anything has become of a message, and everybody was told of whom it is known by then;
    /// or when the earliest deadline is another. Whether more is to come: nothing is once the line is
    /// closed and nothing is under way. Cancel-safe.
    async fn hear(&mut self) -> bool {
        let goes_on = poll_fn(|cx| self.poll_ended(cx)).await;
        self.returns.settle(&mut self.settled);
        self.line.window.add_permits(self.settled.len());
        for (mut waiter, verdict) in self.settled.drain(..) {
            waiter.tell(Outcome::Answered(verdict));
        }
        goes_on
    }

    /// Ready when any has ended; then all were taken down that had by then, so that not one was left out
    /// that ended before one that is told.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let earliest_before = self.earliest_deadline;
        let mut has_any_ended = false;
        loop {
            self.line.woken.take(&mut self.woken, cx);
            let is_closed = self.take_fresh();
            if self.woken.is_empty() {
                let goes_on = !(is_closed && self.returns.is_empty());
                let is_news = has_any_ended || self.earliest_deadline != earliest_before;
                return if is_news || !goes_on { Poll::Ready(goes_on) } else { Poll::Pending };
            }
            let mut woken = take(&mut self.woken);
            let mut bytes = 0;
            for number in woken.drain(..) {
                let Some(waiter) = self.returns.waiter(number) else { continue };
                let Some(flight) = &mut waiter.flight else { continue };
                if let Poll::Ready(ended) = flight.poll() {
                    bytes += waiter.bytes;
                    self.spare.extend(waiter.flight.take());
                    has_any_ended = true;
                    self.note(number, ended);
                }
            }
            self.woken = woken;
            if bytes > 0 {
                self.line.share.answered(bytes);
            }
        }
    }

    /// Takes over what was taken, hands to the client what is to be, and leaves rooms for the senders.
    /// Whether nothing more will be taken.
    fn take_fresh(&mut self) -> bool {
        loop {
            let (is_closed, has_unsent) = self.swap_fresh();
            let mut fresh = take(&mut self.fresh);
            for Fresh { number, fingerprint, waiter, unsent } in fresh.drain(..) {
                let known_as = self.returns.publish(fingerprint, waiter);
                debug_assert_eq!(known_as, number, "both count what was taken");
                if let Some(publication) = unsent {
                    self.hand(number, publication);
                }
            }
            self.fresh = fresh;
            if !has_unsent {
                return is_closed;
            }
        }
    }

    /// Whether nothing more will be taken, and whether something is to be handed to the client: until
    /// there is nothing, senders leave all to this task.
    fn swap_fresh(&mut self) -> (bool, bool) {
        /// How many rooms are kept for later.
        const SPARE_MAX: usize = 1024;
        /// The same for the senders.
        const SPARE_OF_SENDERS_MAX: usize = 16;
        let mut entry = self.line.entry.lock();
        swap(&mut entry.fresh, &mut self.fresh);
        // From the first of them on, senders have handed nothing over themselves.
        entry.has_unsent = self.fresh.last().is_some_and(|last| last.unsent.is_some());
        let room = SPARE_OF_SENDERS_MAX.saturating_sub(entry.spare.len()).min(self.spare.len());
        entry.spare.extend(self.spare.drain(self.spare.len() - room..));
        self.earliest_deadline = entry.earliest_deadline;
        let state = (entry.is_closed, entry.has_unsent);
        drop(entry);
        self.spare.truncate(SPARE_MAX);
        state
    }

    /// Hands message `number` to the client, unless the channel is known to be of no use any more.
    fn hand(&mut self, number: u64, publication: Box<Publication>) {
        if self.is_over || self.broken.is_some() {
            return self.end_without_answer(number, Outcome::Unsent(self.broken.clone()));
        }
        let flight = self.spare.pop().unwrap_or_else(|| Flight::new(&self.line.woken));
        if let Some(waiter) = self.returns.waiter(number) {
            waiter.flight = Some(self.line.hand(flight, number, waiter.bytes, publication));
        }
    }

    fn end_without_answer(&mut self, number: u64, outcome: Outcome) {
        if let Some(mut waiter) = self.returns.lose(number) {
            self.line.window.add_permits(1);
            waiter.tell(outcome);
        }
    }

    /// Takes down how it ended with message `number`.
    fn note(&mut self, number: u64, ended: Ended) {
        let (outcome, error): (fn(_) -> Outcome, _) = match ended {
            Ended::Confirmed { is_stored, carried } => {
                if !self.returns.confirm(number, is_stored, carried) {
                    tracing::error!("the broker returned a message that was not sent");
                }
                return;
            }
            Ended::Unconfirmed(error) => (Outcome::Lost, error),
            Ended::Unwritten(error) if self.over_tls => (Outcome::Lost, error),
            Ended::Unwritten(error) => (Outcome::Unsent, error),
        };
        self.end_without_answer(number, outcome(Some(error.clone())));
        // What the broker said tells more than what the client found broken after it.
        let says_more = |known: &lapin::Error| known.is_amqp_error() || !error.is_amqp_error();
        if !self.broken.as_ref().is_some_and(says_more) {
            self.broken = Some(error);
        }
        self.line.close();
    }

    /// Tells those whose time is up. Their messages keep their places until the broker has answered.
    fn tell_late(&mut self) {
        self.take_fresh();
        let now = SystemClock.now();
        let waiting = self.returns.waiters().filter(|waiter| waiter.tell.is_some());
        let mut earliest = None;
        for waiter in waiting {
            match waiter.deadline {
                Some(deadline) if deadline <= now => waiter.tell(Outcome::TimedOut),
                Some(deadline) => {
                    earliest = Some(earliest.map_or(deadline, |known| deadline.min(known)));
                }
                None => {}
            }
        }
        let mut entry = self.line.entry.lock();
        let fresh = entry.fresh.iter().filter_map(|fresh| fresh.waiter.deadline).min();
        entry.earliest_deadline = earliest.into_iter().chain(fresh).min();
        self.earliest_deadline = entry.earliest_deadline;
    }
}

/// Nobody is left waiting, whatever ends the task, and if it never began.
impl Drop for UnderWay {
    fn drop(&mut self) {
        self.line.close();
        self.swap_fresh();
        let mut places = 0;
        for Fresh { mut waiter, unsent, .. } in self.fresh.drain(..) {
            places += 1;
            let outcome = if unsent.is_some() { Outcome::Unsent } else { Outcome::Lost };
            waiter.tell(outcome(self.broken.clone()));
        }
        for mut waiter in self.returns.take_rest() {
            places += 1;
            waiter.tell(Outcome::Lost(self.broken.clone()));
        }
        self.line.window.add_permits(places);
    }
}

/// How long the timer runs at most: it stands still while the machine is suspended, and deadlines are
/// moments of the wall clock.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A timer that is set again only for another moment.
#[derive(Default)]
struct NextDeadline {
    at: Option<Timestamp>,
    sleep: Option<BoxFuture<'static, ()>>,
}

impl NextDeadline {
    fn set(&mut self, at: Option<Timestamp>) {
        if self.at != at || self.sleep.is_none() {
            self.at = at;
            let look_at = SystemClock.now().after(LOOK_EVERY);
            self.sleep = at.map(|at| SystemClock.sleep_until(at.min(look_at)));
        }
    }

    /// Ends when the deadline has passed, or may have, if there is one. Cancel-safe.
    async fn passes(&mut self) {
        match &mut self.sleep {
            Some(sleep) => {
                sleep.await;
                self.sleep = None;
            }
            None => pending().await,
        }
    }
}
