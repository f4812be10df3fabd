//! A broker as one scenario uses it.

use super::consumer::Consumer;
use super::message::queue_name;
use super::time::{now, within};
use super::topology::{plain, queues};
use crate::TransportHarness;
use std::time::Duration;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::Deadline;
use tramline_core::name::QueueRef;
use tramline_core::topology::{QueueSpec, Subscription, Topology};
use tramline_core::transport::{Outgoing, Receiver, Sender, Sent, Source, Start, Transport};
use tramline_core::{Error, ErrorKind};

/// The queue of scenarios that need only one.
pub(crate) const WORK: &str = "work";

/// What a consumer on `T` takes.
pub(crate) type Taken<T> = <<T as Transport>::Receiver as Receiver>::Delivery;

/// A transport with a sender, and the topology that was declared through it last.
pub(crate) struct Scene<T: Transport> {
    pub(crate) transport: T,
    pub(crate) sender: T::Sender,
    pub(crate) patience: Duration,
    /// What settlements bring about comes a moment after them.
    pub(crate) settles_unheard: bool,
    declared: Topology,
}

impl<T: Transport> Scene<T> {
    /// A fresh broker with the queue [`WORK`].
    pub(crate) async fn fresh(harness: &impl TransportHarness<Transport = T>) -> Self {
        Self::with(harness, queues([WORK])).await
    }

    /// A fresh broker with `topology`.
    pub(crate) async fn with(
        harness: &impl TransportHarness<Transport = T>,
        topology: Topology,
    ) -> Self {
        let mut scene = Self::on(harness.fresh().await, harness.patience()).await;
        scene.settles_unheard = harness.settles_unheard();
        scene.declare(topology).await;
        scene
    }

    /// The same broker as another process sees it, with the same topology declared.
    pub(crate) async fn other(&self, harness: &impl TransportHarness<Transport = T>) -> Self {
        let transport = harness.other(&self.transport).await;
        let mut scene = Self::on(transport, self.patience).await;
        scene.settles_unheard = self.settles_unheard;
        scene.declare(self.declared.clone()).await;
        scene
    }

    /// `transport` with a sender, and nothing declared.
    pub(crate) async fn on(transport: T, patience: Duration) -> Self {
        let sender = within(patience, "a sender", transport.sender()).await;
        let sender = sender.unwrap_or_else(|error| panic!("expected a sender, got: {error}"));
        let declared = Topology::default();
        Self { transport, sender, patience, settles_unheard: false, declared }
    }

    /// Declares `topology`, which must succeed.
    pub(crate) async fn declare(&mut self, topology: Topology) {
        if let Err(error) = self.try_declare(&topology).await {
            panic!("expected {topology:?} to be declared, got: {error}");
        }
        self.declared = topology;
    }

    /// What `declare` answers to `topology`.
    pub(crate) async fn try_declare(&self, topology: &Topology) -> Result<(), Error> {
        within(self.patience, "an answer to `declare`", self.transport.declare(topology)).await
    }

    /// What the transport can do for `queue` as it was declared.
    pub(crate) fn can(&self, queue: &str) -> Capabilities {
        self.transport.capabilities(&self.spec(queue))
    }

    /// Sends one message, which must be accepted.
    pub(crate) async fn send(&self, outgoing: Outgoing) {
        self.send_all(&[outgoing]).await;
    }

    /// Sends messages, which must all be accepted.
    pub(crate) async fn send_all(&self, batch: &[Outgoing]) {
        for (sent, outgoing) in self.answers(batch).await.into_iter().zip(batch) {
            assert!(sent.is_accepted(), "expected {} to accept, got: {sent:?}", outgoing.to);
        }
    }

    /// The error that one message is refused with.
    pub(crate) async fn refusal(&self, outgoing: Outgoing) -> Error {
        let answers = self.answers(std::slice::from_ref(&outgoing)).await;
        match answers.into_iter().next() {
            Some(Sent::Refused(error)) => error,
            other => panic!("expected {} to refuse, got: {other:?}", outgoing.to),
        }
    }

    /// The answers to `batch`, one for each message.
    pub(crate) async fn answers(&self, batch: &[Outgoing]) -> Vec<Sent> {
        let sent = self.sender.send(batch, self.deadline());
        let sent = within(self.patience * 2, "answers to `send` by its deadline", sent).await;
        assert_eq!(sent.len(), batch.len(), "one answer for each message of a batch");
        sent
    }

    /// The transport alone, as it is left when everything that used it is gone.
    pub(crate) fn into_transport(self) -> T {
        self.transport
    }

    /// The moment up to which this scenario has patience.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(now(), self.patience)
    }

    /// A consumer of `queue`.
    pub(crate) async fn consumer(&self, queue: &str, prefetch: u32) -> Consumer<T::Receiver> {
        self.consumer_of(QueueRef::Main(queue_name(queue)), prefetch).await
    }

    /// A consumer of the dead letters of `queue`.
    pub(crate) async fn undertaker(&self, queue: &str) -> Consumer<T::Receiver> {
        self.consumer_of(QueueRef::Dead(queue_name(queue)), 10).await
    }

    async fn consumer_of(&self, queue: QueueRef, prefetch: u32) -> Consumer<T::Receiver> {
        let source = Source {
            spec: self.spec(queue.name().as_str()),
            subscriptions: self.subscriptions_of(&queue),
            queue: queue.clone(),
            prefetch,
            prefetch_max: prefetch,
            start: Start::default(),
        };
        let receiver = within(self.patience, "a receiver", self.transport.receiver(&source)).await;
        let receiver =
            receiver.unwrap_or_else(|error| panic!("expected a receiver on {queue}, got: {error}"));
        Consumer::new(receiver, queue.to_string(), self.patience)
    }

    fn spec(&self, queue: &str) -> QueueSpec {
        let declared = self.declared.queues.iter().find(|spec| spec.name.as_str() == queue);
        declared.cloned().unwrap_or_else(|| plain(queue))
    }

    fn subscriptions_of(&self, queue: &QueueRef) -> Vec<Subscription> {
        let QueueRef::Main(name) = queue else {
            return Vec::new();
        };
        let declared = self.declared.subscriptions.iter();
        declared.filter(|subscription| subscription.queue == *name).cloned().collect()
    }
}

/// Asserts that `refused` is an error of `kind`.
pub(crate) fn assert_kind(refused: &Error, kind: ErrorKind) {
    assert_eq!(refused.kind(), kind, "expected to be refused as {kind:?}, got: {refused}");
}
