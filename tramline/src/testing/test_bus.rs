//! An application's endpoints in memory, on a clock that is wound by hand.

use super::backlog::Backlog;
use super::witness::{Witness, decoded};
use crate::pipeline::PoisonLane;
use crate::{Bus, BusBuilder, StartError};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Message;
use tramline_core::clock::{Clock, ManualClock, SeededEntropy, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::erased::DynStore;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Operate, Peeked};
use tramline_memory::Memory;

/// A running bus for a test: in memory, on a clock that only the test winds, with chance that
/// repeats. It is a [`Bus`]: publish and send through it.
///
/// Time passes when the test says so: a retry in ten minutes comes when
/// [`run_until_idle`](Self::run_until_idle) or [`wind`](Self::wind) has wound the clock that far,
/// which takes no time at all. Use it on a runtime of one thread, as `#[tokio::test]` makes one.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use std::time::Duration;
/// use tramline::testing::TestBus;
/// use tramline::{Attempt, Endpoint, Failure, Message, Outbox, Retry};
///
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] struct OrderPlaced { order: u64 }
/// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)] struct OrderPaid { order: u64 }
/// # impl Message for OrderPaid { const NAME: &'static str = "orders.paid"; }
/// async fn charge(order: OrderPlaced, run: Attempt, outbox: Outbox) -> Result<(), Failure> {
///     if run < Attempt(3) { return Err(Failure::retryable("the gateway is down")); }
///     outbox.publish(&OrderPaid { order: order.order })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let retry = Retry::fixed(Duration::from_secs(600)).runs(5);
/// let payment = Endpoint::new("payment").subscribe::<OrderPlaced>().retry(retry).handle(charge);
/// let test = TestBus::start(|bus, _| bus.endpoint(payment)).await?;
///
/// test.publish(&OrderPlaced { order: 7 }).await?;
/// test.run_until_idle().await;
///
/// assert_eq!(test.published::<OrderPaid>(), [OrderPaid { order: 7 }]);
/// assert_eq!(test.handled::<OrderPlaced>().len(), 1);
/// assert!(test.dead_letters("payment").await.is_empty());
/// assert_eq!(test.elapsed(), Duration::from_secs(1200));
/// # Ok(())
/// # }
/// ```
pub struct TestBus {
    bus: Bus,
    memory: Memory,
    clock: ManualClock,
    witness: Witness,
    stores: Vec<Arc<dyn DynStore>>,
}

/// When every test begins: 2001-09-09, so that ids and times look like those of a real bus.
const BEGIN: Timestamp = Timestamp::from_millis(1_000_000_000_000);
/// How often everything that can run has run without any change, before nothing is at work.
const QUIET_ROUNDS: u32 = 100;
/// How often the clock is wound before a bus that never rests is given up.
const WINDS_MAX: u32 = 100_000;
/// How long the clock goes on, although nothing moves and nothing waits for a later time.
const STUCK_AFTER: Duration = Duration::from_secs(60 * 60);

impl TestBus {
    /// Starts what `build` adds to an empty bus: its endpoints, states and stores. The memory is
    /// its transport, and can be its store as well: `bus.store(memory.clone())`.
    ///
    /// # Errors
    /// As [`BusBuilder::start`].
    pub async fn start(
        build: impl FnOnce(BusBuilder, &Memory) -> BusBuilder,
    ) -> Result<Self, StartError> {
        let (clock, witness) = (ManualClock::at(BEGIN), Witness::default());
        let accepted = witness.clone();
        let memory = Memory::options()
            .clock(Arc::new(clock.clone()))
            .entropy(Arc::new(SeededEntropy::new(1)))
            .watch(move |outgoing| accepted.saw_accepted(outgoing))
            .build();
        let handled = witness.clone();
        let bus = Bus::builder(Box::new(memory.clone()) as Box<_>)
            .clock(clock.clone())
            .entropy(SeededEntropy::new(2))
            .poison_lane(PoisonLane::default())
            .on_handled(move |_, envelope| handled.saw_handled(envelope));
        let bus = build(bus, &memory);
        let stores = bus.stores().to_vec();
        let bus = bus.start().await?;
        Ok(Self { bus, memory, clock, witness, stores })
    }

    /// Every `M` that was published or sent so far, in order, by handlers and by the test; what a
    /// transaction publishes, once it is committed.
    ///
    /// # Panics
    /// One of them cannot be read as an `M`.
    pub fn published<M: Message>(&self) -> Vec<M> {
        decoded(&self.witness.published::<M>(), &self.bus.inner().composer.encoding)
    }

    /// The same, with ids, headers and all that travels beside a message.
    pub fn published_envelopes<M: Message>(&self) -> Vec<Arc<Envelope>> {
        self.witness.published::<M>()
    }

    /// Every `M` whose handler has succeeded so far, with its transaction if it has one, in the
    /// order in which they did; once for each queue that got it.
    ///
    /// # Panics
    /// One of them cannot be read as an `M`.
    pub fn handled<M: Message>(&self) -> Vec<M> {
        decoded(&self.witness.handled::<M>(), &self.bus.inner().composer.encoding)
    }

    /// The dead letters of `queue`, with why they died; none if there is no such queue.
    /// [`Bus::dead_letters`], which redrives them, is at `self.bus()`.
    pub async fn dead_letters(&self, queue: &str) -> Vec<Peeked> {
        let Ok(queue) = QueueName::new(queue) else { return Vec::new() };
        let dead = self.memory.peek(&QueueRef::Dead(queue), None, u32::MAX).await;
        dead.unwrap_or_default()
    }

    /// Runs everything there is to do: handlers, retries after their pauses, scheduled messages.
    /// The clock is wound from one moment at which anything waits to the next, until no message
    /// is left, or those that are left do not move for an hour.
    ///
    /// What a handler waits for outside of the bus, such as a socket or another thread, is not
    /// waited for: fake it.
    ///
    /// # Panics
    /// The bus never rests: handlers that always send each other something.
    pub async fn run_until_idle(&self) {
        let mut still_since = self.clock.now();
        let mut before = self.settle().await;
        for _ in 0..WINDS_MAX {
            if before.is_done() || self.is_stuck(still_since, &before) {
                return;
            }
            let still = self.clock.now().since(still_since);
            match before.skips_to(&self.memory, still).await {
                Some(due) => self.clock.advance(due.since(self.clock.now())),
                None if self.wind_to_next() => {}
                None => return,
            }
            let after = self.settle().await;
            if after != before {
                still_since = self.clock.now();
            }
            before = after;
        }
        panic!("the bus does not rest: after {:?} there is still\n{before}", self.elapsed());
    }

    /// Lets everything run until `happened`, winding the clock as far as `within` from now.
    ///
    /// # Errors
    /// [`NotInTime`]: it has not happened by then; the text says what is in the queues.
    pub async fn wait_for(
        &self,
        within: Duration,
        mut happened: impl FnMut(&Self) -> bool,
    ) -> Result<(), NotInTime> {
        let until = self.clock.now().after(within);
        for _ in 0..WINDS_MAX {
            let backlog = self.settle().await;
            if happened(self) {
                return Ok(());
            }
            let next = self.clock.next_wake().filter(|next| *next <= until);
            if next.is_none() || !self.wind_to_next() {
                self.clock.advance(until.since(self.clock.now()));
                return Err(NotInTime { within, backlog });
            }
        }
        Err(NotInTime { within, backlog: self.settle().await })
    }

    /// Lets everything run that can, winds the clock by `by` all at once, and lets everything run
    /// again.
    pub async fn wind(&self, by: Duration) {
        self.settle().await;
        self.clock.advance(by);
        self.settle().await;
    }

    /// How far the clock has been wound.
    pub fn elapsed(&self) -> Duration {
        self.clock.now().since(BEGIN)
    }

    /// The clock. What handlers or fakes measure by it stands still with the bus.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The bus, to be cloned or to be given away.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The memory: tables, queues, and what operators can do.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Nothing moves by itself, and nothing waits for a later time.
    fn is_stuck(&self, still_since: Timestamp, backlog: &Backlog) -> bool {
        !backlog.has_delayed() && self.clock.now().since(still_since) >= STUCK_AFTER
    }

    /// Winds the clock to the next moment that anybody waits for, if there is any.
    fn wind_to_next(&self) -> bool {
        let Some(next) = self.clock.next_wake() else { return false };
        self.clock.advance(next.since(self.clock.now()));
        true
    }

    /// Lets everything run that can, until nothing has changed for a while. No runtime says when
    /// all of its tasks wait, so it is asked often.
    async fn settle(&self) -> Backlog {
        let mut before = (self.backlog().await, self.witness.counts());
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS {
            tokio::task::yield_now().await;
            let after = (self.backlog().await, self.witness.counts());
            quiet = if after == before { quiet + 1 } else { 0 };
            before = after;
        }
        before.0
    }

    async fn backlog(&self) -> Backlog {
        match Backlog::of(&self.memory, &self.stores).await {
            Ok(backlog) => backlog,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Deref for TestBus {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl fmt::Debug for TestBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (published, handled) = self.witness.counts();
        write!(f, "TestBus({published} published, {handled} handled, {:?})", self.elapsed())
    }
}

/// What a test waited for has not happened.
#[derive(Clone, PartialEq, Eq)]
pub struct NotInTime {
    within: Duration,
    backlog: Backlog,
}

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { within, backlog } = self;
        write!(f, "it has not happened within {within:?}; there is\n{backlog}")
    }
}

/// As its text, so that a test that unwraps it shows what there is.
impl fmt::Debug for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotInTime {}
