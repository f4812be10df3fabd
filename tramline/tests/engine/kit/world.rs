//! A memory, a clock that is wound by hand, and buses on them.

use super::transport::Rigged;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tramline::core::clock::{ManualClock, SeededEntropy, Timestamp};
use tramline::core::name::QueueRef;
use tramline::core::operate::{Operate, Peeked};
use tramline::core::transport::Transport;
use tramline::memory::MemoryOptions;
use tramline::pipeline::PoisonLane;
use tramline::{Bus, BusBuilder, Memory, QueueName};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// When every world begins.
const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) clock: ManualClock,
    buses: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(change: impl FnOnce(MemoryOptions) -> MemoryOptions) -> Self {
        let clock = ManualClock::at(BEGIN);
        let memory = change(Memory::options().clock(Arc::new(clock.clone()))).build();
        Self { memory, clock, buses: Arc::default() }
    }

    /// Another memory on the same clock.
    pub(crate) fn other_memory(&self) -> Memory {
        Memory::options().clock(Arc::new(self.clock.clone())).build()
    }

    pub(crate) fn bus(&self) -> BusBuilder<Memory> {
        self.bus_on(self.memory.clone())
    }

    pub(crate) fn bus_on<T: Transport>(&self, transport: T) -> BusBuilder<T> {
        // Each bus has chances of its own, as each process has: else their ids would be alike.
        let seed = self.buses.fetch_add(1, SeqCst);
        let bus = Bus::builder(transport).clock(self.clock.clone());
        // Each bus stands for a process.
        bus.entropy(SeededEntropy::new(seed)).poison_lane(PoisonLane::default())
    }

    /// This memory behind a transport that fails as it is told.
    pub(crate) fn rigged(&self) -> Rigged {
        Rigged::on(self.memory.clone())
    }

    /// Winds the clock and lets everything run that can.
    pub(crate) async fn wind(&self, by: Duration) {
        idle().await;
        self.clock.advance(by);
        idle().await;
    }

    /// Ready, leased, delayed and dead messages of a queue.
    pub(crate) async fn depth(&self, queue: &str) -> [u64; 4] {
        let depth = self.memory.depth(&QueueName::new(queue).unwrap()).await.unwrap();
        [depth.ready, depth.leased, depth.delayed, depth.dead].map(|f| f.known().unwrap())
    }

    pub(crate) async fn in_queue(&self, queue: &str) -> Vec<Peeked> {
        self.peek(QueueRef::Main(QueueName::new(queue).unwrap())).await
    }

    pub(crate) async fn dead(&self, queue: &str) -> Vec<Peeked> {
        self.peek(QueueRef::Dead(QueueName::new(queue).unwrap())).await
    }

    async fn peek(&self, queue: QueueRef) -> Vec<Peeked> {
        self.memory.peek(&queue, None, 10_000).await.unwrap()
    }
}

/// Lets everything run that can. Tests run on one thread, so what waits then waits for the clock
/// or for the test.
pub(crate) async fn idle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

/// `future`, which must end without the clock being wound; a panic if it takes too long by the
/// machine's clock.
pub(crate) async fn at_once<T>(future: impl IntoFuture<Output = T>) -> T {
    let limited = tokio::time::timeout(Duration::from_secs(10), future.into_future());
    limited.await.expect("it never ends")
}
