//! Takes messages ahead, hands them out one by one, and sleeps while there are none.

use super::claim::{CLAIM_BYTES_MAX, Claim, Claimed, gone};
use super::delivery::PostgresDelivery;
use super::head::Head;
use super::held::Held;
use super::taken::Taken;
use crate::link::Backoff;
use crate::open::{Core, Session};
use crate::processes::Eager;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tramline_core::Result;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::Timestamp;
use tramline_core::name::QueueRef;
use tramline_core::rows::{Bell, Pace, Reserved, Slots};
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{Receiver, Source};

/// Reads one queue of a database, or its dead letters.
///
/// Takes up to its prefetch ahead, many messages with one call. Dropped, it gives back what it took and
/// did not hand out.
pub struct PostgresReceiver {
    core: Arc<Core>,
    session: Arc<Session>,
    queue: i32,
    dead: bool,
    is_ordered: bool,
    slots: Arc<Slots>,
    pace: Pace,
    eager: Eager,
    head: Head,
    bell: Arc<Bell>,
    buffer: VecDeque<(Taken, Held)>,
    /// Bytes of the bodies in the buffer.
    buffered_bytes: usize,
    claim: Option<UnderWay>,
    backoff: Backoff,
    /// Set while the queue is known to be empty.
    rest: Option<Rest>,
    /// Since when every claim has brought something.
    busy_since: Option<Timestamp>,
    stopped: watch::Sender<bool>,
}

/// A claim that the server has not answered yet.
struct UnderWay {
    answer: oneshot::Receiver<Result<Claimed>>,
    /// What the bell had rung when the claim was made: what rings later is news.
    rung: u64,
    /// Others knew by then that they have to wake us.
    was_marked: bool,
}

/// There was nothing more to take.
struct Rest {
    rung: u64,
    until: Option<Timestamp>,
    /// Only a part was looked at: when to look at all of it.
    whole: Option<Instant>,
    /// Nobody will tell what is committed from here on, before this is mended.
    unmarked: bool,
}

/// Who is busy for longer than this need not be woken.
const BUSY: Duration = Duration::from_secs(1);

impl PostgresReceiver {
    pub(crate) fn new(
        core: Arc<Core>,
        session: Arc<Session>,
        queue: i32,
        spec: &QueueSpec,
        source: &Source,
    ) -> Self {
        let dead = matches!(source.queue, QueueRef::Dead(_));
        let is_ordered = spec.ordering != Ordering::None;
        let has_ranks = spec.priority_max.is_some_and(|max| max > 0);
        Self {
            bell: core.hub.bell(queue.into()),
            slots: Slots::new(source.prefetch.max(1) as usize),
            pace: Pace::new(source.prefetch, source.prefetch_max),
            eager: Eager::default(),
            head: Head::new(!dead && !is_ordered && !has_ranks),
            core,
            session,
            queue,
            dead,
            is_ordered,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            claim: None,
            backoff: Backoff::default(),
            rest: None,
            busy_since: None,
            stopped: watch::Sender::new(false),
        }
    }

    /// Asks for more if at least `worth` slots are free and there may be more.
    fn refill(&mut self, worth: usize) {
        if self.claim.is_some() || *self.stopped.borrow() || self.is_at_rest() {
            return;
        }
        // Whatever it waits for from here on, it is no longer for news.
        self.rest = None;
        let Some(reserved) = self.slots.reserve(worth) else { return };
        self.claim = Some(self.claim(reserved));
        self.slots.resize(self.pace.claims(self.core.here()));
    }

    fn claim(&self, reserved: Reserved) -> UnderWay {
        let (rung, was_marked) = (self.bell.rung(), self.core.sleepers.is_marked(self.queue));
        let claim = Claim {
            core: self.core.clone(),
            session: self.session.clone(),
            queue: self.queue,
            dead: self.dead,
            is_ordered: self.is_ordered,
            reserved,
            from: self.head.from(Instant::now()),
            stopped: self.stopped.subscribe(),
        };
        UnderWay { answer: claim.begin(), rung, was_marked }
    }

    fn is_at_rest(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| {
            rest.rung == self.bell.rung()
                && rest.until.is_none_or(|until| until > self.core.here())
                && rest.whole.is_none_or(|whole| whole > Instant::now())
        })
    }

    fn take_in(&mut self, claimed: Claimed, rung: u64, was_marked: bool) {
        let Claimed { messages, next_due, look } = claimed;
        let now = self.core.here();
        let emptied = self.head.looked(look, Instant::now());
        let bodies = messages.iter().map(|(taken, _)| taken.body.len());
        self.buffered_bytes += bodies.sum::<usize>();
        let found = !messages.is_empty();
        self.buffer.extend(messages);
        if found {
            self.eager.finds(now);
        }
        if !emptied {
            self.rest = None;
            self.is_busy(now);
            return;
        }
        self.pace.rests();
        if !found {
            self.busy_since = None;
        }
        let is_told = self.core.is_heard();
        let again = if found { None } else { self.eager.finds_nothing(now, is_told) };
        // What was found together may have more behind it, and a claim tells.
        let again = if found && !is_told { Some(now) } else { again };
        let until = [next_due, again].into_iter().flatten().min();
        let whole = look.from.and_then(|_| self.head.whole_again());
        let unmarked = is_told && again.is_none() && !was_marked;
        self.rest = Some(Rest { rung, until, whole, unmarked });
    }

    /// One who always finds something looks by himself: others need not tell him.
    fn is_busy(&mut self, now: Timestamp) {
        let since = *self.busy_since.get_or_insert(now);
        if now.since(since) > BUSY && self.core.sleepers.is_marked(self.queue) {
            let (core, queue) = (self.core.clone(), self.queue);
            tokio::spawn(async move { core.sleepers.unmark(&core, queue).await });
        }
    }

    /// Ends when it may be worth to ask again: something rang, a message is due, or a slot is
    /// free.
    async fn wait(&mut self) {
        let Some(rest) = &mut self.rest else {
            tokio::select! {
                () = self.slots.freed() => {}
                () = self.session.closed() => {}
            }
            return;
        };
        if rest.unmarked {
            tokio::select! {
                marked = self.core.sleepers.mark(&self.core, self.queue) => match marked {
                    // What was committed before that, nobody told us: to be looked for.
                    Ok(()) => {
                        self.rest = None;
                        self.backoff = Backoff::default();
                    }
                    Err(error) => self.core.trouble(&error, &mut self.backoff).await,
                },
                () = self.session.closed() => {}
            }
            return;
        }
        let due = async {
            match rest.until {
                Some(until) => self.core.settings.clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let whole = async {
            match rest.whole {
                Some(whole) => tokio::time::sleep_until(whole).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.bell.rings_after(rest.rung) => {}
            () = due => {}
            () = whole => {}
            () = self.session.closed() => {}
        }
    }
}

impl Receiver for PostgresReceiver {
    type Delivery = PostgresDelivery;

    async fn next(&mut self) -> Result<Option<PostgresDelivery>> {
        loop {
            if self.session.is_closed() {
                // What was taken went back when the session was closed.
                self.buffer.clear();
                return Ok(None);
            }
            if !self.buffer.is_empty() {
                if self.buffered_bytes < CLAIM_BYTES_MAX / 2 {
                    let half = self.slots.half();
                    self.refill(half);
                }
                if let Some((taken, held)) = self.buffer.pop_front() {
                    self.buffered_bytes -= taken.body.len();
                    return Ok(Some(PostgresDelivery::open(taken, held)));
                }
            }
            if let Some(UnderWay { answer, rung, was_marked }) = &mut self.claim {
                let answered = tokio::select! {
                    answered = answer => answered,
                    () = self.session.closed() => continue,
                };
                let (rung, was_marked) = (*rung, *was_marked);
                self.claim = None;
                let claimed = answered.unwrap_or_else(|_| Err(gone()))?;
                self.take_in(claimed, rung, was_marked);
                continue;
            }
            if *self.stopped.borrow() {
                return Ok(None);
            }
            self.refill(1);
            if self.claim.is_none() {
                self.wait().await;
            }
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.stopped.send_replace(true);
        Ok(())
    }
}
