//! What these tests are written with.

use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tramline_core::Message;
use tramline_core::clock::{Clock, Deadline, ManualClock, SeededEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Transport,
};
use tramline_memory::{Memory, MemoryDelivery, MemoryOptions, MemoryReceiver};

/// A message for stores to publish.
#[derive(Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) n: u32,
}

impl Message for Noted {
    const NAME: &'static str = "notes.noted";
}

/// A memory on a clock that stands still, with the queue `work`.
pub(crate) struct Scene {
    pub(crate) memory: Memory,
    pub(crate) clock: ManualClock,
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Memory::options(), QueueSpec::new(work())).await
    }

    pub(crate) async fn with(options: MemoryOptions, spec: QueueSpec) -> Self {
        let clock = ManualClock::default();
        let entropy = Arc::new(SeededEntropy::new(7));
        let memory = options.clock(Arc::new(clock.clone())).entropy(entropy).build();
        memory.declare(&Topology { queues: vec![spec], ..Topology::default() }).await.unwrap();
        Self { memory, clock }
    }

    /// Sends messages, which must be accepted.
    pub(crate) async fn send<const N: usize>(&self, batch: [Outgoing; N]) {
        for sent in self.answers(&batch).await {
            assert!(sent.is_accepted(), "{sent:?}");
        }
    }

    pub(crate) async fn answers(&self, batch: &[Outgoing]) -> Vec<Sent> {
        self.memory.sender().await.unwrap().send(batch, Deadline(self.clock.now())).await
    }

    pub(crate) async fn receiver(&self) -> MemoryReceiver {
        receiver(&self.memory, QueueRef::Main(work())).await
    }

    pub(crate) async fn dead_receiver(&self) -> MemoryReceiver {
        receiver(&self.memory, QueueRef::Dead(work())).await
    }

    /// Sends `id` and makes a dead letter of it.
    pub(crate) async fn kill(&self, id: &str, reason: Reason) {
        self.send([message(id)]).await;
        let how = Settlement::DeadLetter { reason, failures: 1, notes: Vec::new() };
        let settled = take(&mut self.receiver().await).await.settle(how).await;
        assert_eq!(settled.unwrap(), Settled::Done);
    }

    /// A scope outside of any handler.
    pub(crate) fn scope(&self, publishing: Publishing) -> Scope {
        let clock = Arc::new(self.clock.clone());
        let entropy = Arc::new(SeededEntropy::new(7));
        Scope::outside(Arc::new(Composer { encoding: Encoding::Json, clock, entropy }), publishing)
    }
}

pub(crate) fn work() -> QueueName {
    QueueName::new("work").unwrap()
}

/// A message to `work` that is known by `id`.
pub(crate) fn message(id: &str) -> Outgoing {
    let id: MessageId = id.parse().unwrap();
    Outgoing {
        to: Destination::Queue(QueueRef::Main(work())),
        envelope: Arc::new(Envelope { id: Some(id), ..Envelope::default() }),
        due: None,
        copy: None,
    }
}

pub(crate) async fn receiver(memory: &Memory, queue: QueueRef) -> MemoryReceiver {
    memory.receiver(&Source::of(queue, 100)).await.unwrap()
}

/// What can be taken without waiting; to wait would be the failure.
pub(crate) async fn take(receiver: &mut MemoryReceiver) -> MemoryDelivery {
    Polled::new(receiver.next()).ready("a message").unwrap().expect("it is not stopped")
}

/// Asserts that there is nothing to take without waiting.
pub(crate) async fn take_nothing(receiver: &mut MemoryReceiver) {
    Polled::new(receiver.next()).pending("an empty queue");
}

pub(crate) fn id(delivery: &MemoryDelivery) -> String {
    delivery.envelope().id.as_ref().unwrap().to_string()
}

pub(crate) async fn ack(delivery: MemoryDelivery) {
    assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}

/// A future that is polled by hand, so that a test sees each wake-up and misses none.
pub(crate) struct Polled<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    flag: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a, T> Polled<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(false))) }
    }

    /// Whether it was woken since it was polled last.
    pub(crate) fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::SeqCst)
    }

    /// Polls it; it must be ready.
    pub(crate) fn ready(&mut self, what: &str) -> T {
        match self.poll() {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("expected {what} at once"),
        }
    }

    /// Polls it; it must wait.
    pub(crate) fn pending(&mut self, what: &str) {
        assert!(self.poll().is_pending(), "expected to wait: {what}");
    }

    fn poll(&mut self) -> Poll<T> {
        self.flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.flag.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}
