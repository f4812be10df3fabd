//! A transport with a bug.

use super::bug::Bug;
use futures_util::FutureExt;
use std::sync::Arc;
use tramline::Memory;
use tramline::core::capabilities::Capabilities;
use tramline::core::clock::Deadline;
use tramline::core::dead::{FailureNote, Reason};
use tramline::core::envelope::Envelope;
use tramline::core::health::Health;
use tramline::core::name::{QueueName, QueueRef};
use tramline::core::operate::Operate;
use tramline::core::settlement::{Marks, Settled, Settlement};
use tramline::core::store::DatabaseId;
use tramline::core::topology::{QueueSpec, Subscription, Topology};
use tramline::core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Ticket, Transport,
};
use tramline::core::{ErrorKind, Result};
use tramline::testing::faults::Faulty;

type Inner = Faulty<Memory>;
type InnerDelivery = <<Inner as Transport>::Receiver as Receiver>::Delivery;

pub(super) struct Planted {
    pub(super) inner: Inner,
    pub(super) bug: Bug,
}

impl Transport for Planted {
    type Sender = PlantedSender;
    type Receiver = PlantedReceiver;

    fn name(&self) -> &'static str {
        "planted"
    }
    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        self.inner.capabilities(queue)
    }
    fn database(&self) -> Option<DatabaseId> {
        Transport::database(&self.inner)
    }
    async fn declare(&self, topology: &Topology) -> Result<()> {
        let mut topology = topology.clone();
        if self.bug == Bug::IgnoresTheWindow {
            topology.queues.iter_mut().for_each(|queue| queue.dedup_window = None);
        }
        self.inner.declare(&topology).await
    }
    async fn sender(&self) -> Result<PlantedSender> {
        let inner = Arc::new(self.inner.sender().await?);
        Ok(PlantedSender { inner, transport: self.inner.clone(), bug: self.bug })
    }
    async fn receiver(&self, source: &Source) -> Result<PlantedReceiver> {
        let inner = self.inner.receiver(source).await?;
        Ok(PlantedReceiver { inner, bug: self.bug, delivered: 0 })
    }
    fn address(&self, queue: &QueueName) -> Option<String> {
        self.inner.address(queue)
    }
    fn health(&self) -> Health {
        self.inner.health()
    }
    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }
    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.inner.close(deadline).await
    }
}

pub(super) struct PlantedSender {
    inner: Arc<<Inner as Transport>::Sender>,
    transport: Inner,
    bug: Bug,
}

const ACCEPTED: Sent = Sent::Accepted { routed: Some(true) };

impl Sender for PlantedSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        let is_copy = batch.iter().any(|outgoing| outgoing.copy.is_some());
        match self.bug {
            Bug::ConfirmsCopiesEarly if is_copy => {
                let (inner, later) = (self.inner.clone(), batch.to_vec());
                tokio::spawn(async move { inner.send(&later, deadline).await });
                batch.iter().map(|_| ACCEPTED).collect()
            }
            Bug::ConfirmsWhatIsRefused => {
                let confirmed = |sent| match sent {
                    Sent::Refused(error) if error.kind() == ErrorKind::Full => ACCEPTED,
                    sent => sent,
                };
                self.inner.send(batch, deadline).await.into_iter().map(confirmed).collect()
            }
            Bug::DropsCopies if is_copy => {
                let plain = batch.iter().map(|copy| Outgoing { copy: None, ..copy.clone() });
                self.inner.send(&plain.collect::<Vec<_>>(), deadline).await
            }
            Bug::PublishesQueueByQueue => {
                let mut sent = Vec::with_capacity(batch.len());
                for outgoing in batch {
                    sent.push(self.send_queue_by_queue(outgoing, deadline).await);
                }
                sent
            }
            _ => self.inner.send(batch, deadline).await,
        }
    }
}

impl PlantedSender {
    async fn send_queue_by_queue(&self, outgoing: &Outgoing, deadline: Deadline) -> Sent {
        let mut queues = vec![outgoing.to.clone()];
        if let (Destination::Topic { subject, .. }, Some(operate)) =
            (&outgoing.to, self.transport.operate())
        {
            let there = operate.subscriptions().await.unwrap_or_default().into_iter();
            // These ask for one subject each, without a filter.
            let wanted = |to: &Subscription| to.rules.iter().any(|rule| rule.subject == **subject);
            let queue = |to: Subscription| Destination::Queue(QueueRef::Main(to.queue));
            queues = there.filter(wanted).map(queue).collect();
        }
        for to in queues {
            let copy = Outgoing { to, ..outgoing.clone() };
            match self.inner.send(&[copy], deadline).await.pop() {
                Some(Sent::Accepted { .. }) | None => {}
                Some(refused) => return refused,
            }
        }
        ACCEPTED
    }
}

pub(super) struct PlantedReceiver {
    inner: <Inner as Transport>::Receiver,
    bug: Bug,
    delivered: u32,
}

impl Receiver for PlantedReceiver {
    type Delivery = PlantedDelivery;

    async fn next(&mut self) -> Result<Option<PlantedDelivery>> {
        let next = match self.inner.next().now_or_never() {
            Some(next) => next?,
            // It waits for the second time, and nobody will wake it.
            None if self.bug == Bug::LosesAWakeUp && self.delivered == 2 => {
                std::future::pending().await
            }
            None => self.inner.next().await?,
        };
        let Some(inner) = next else { return Ok(None) };
        self.delivered += 1;
        let mut envelope = inner.envelope().clone();
        if self.bug == Bug::ForgetsExpiry {
            Arc::make_mut(&mut envelope).expires_at = None;
        }
        let mut inner = Some(inner);
        if self.bug == Bug::AcksOnDelivery
            && let Some(delivery) = inner.take()
        {
            delivery.settle(Settlement::Ack).await?;
        }
        Ok(Some(PlantedDelivery { envelope, inner, bug: self.bug }))
    }
    async fn stop(&mut self) -> Result<()> {
        self.inner.stop().await
    }
}

/// Without `inner` it was acked already, and settling it does nothing.
pub(super) struct PlantedDelivery {
    inner: Option<InnerDelivery>,
    envelope: Arc<Envelope>,
    bug: Bug,
}

impl Delivery for PlantedDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }
    fn failures(&self) -> u32 {
        self.inner.as_ref().map_or(0, Delivery::failures)
    }
    fn deliveries(&self) -> Option<u32> {
        self.inner.as_ref().map_or(Some(1), Delivery::deliveries)
    }
    fn history(&self) -> &[FailureNote] {
        self.inner.as_ref().map_or(&[], Delivery::history)
    }
    fn marks(&self) -> Marks {
        self.inner.as_ref().map_or_else(Marks::default, Delivery::marks)
    }
    fn ticket(&self) -> Option<Ticket> {
        self.inner.as_ref().and_then(Delivery::ticket)
    }
    async fn mark_trial(&mut self) -> Result<()> {
        match &mut self.inner {
            Some(inner) => inner.mark_trial().await,
            None => Ok(()),
        }
    }
    async fn lost(&self) {
        match &self.inner {
            Some(inner) => inner.lost().await,
            None => std::future::pending().await,
        }
    }
    async fn settle(self, mut how: Settlement) -> Result<Settled> {
        match (self.bug, &mut how) {
            (Bug::AcksWhatIsReturned, Settlement::Return)
            | (Bug::AcksWhatHasExpired, Settlement::DeadLetter { reason: Reason::Expired, .. }) => {
                how = Settlement::Ack
            }
            (Bug::AcquitsNobody, Settlement::Retry { marks, .. }) => {
                marks.trials = self.marks().trials;
            }
            _ => {}
        }
        match self.inner {
            Some(inner) => inner.settle(how).await,
            None => Ok(Settled::Done),
        }
    }
    fn settled_by_store(self) {
        if let Some(inner) = self.inner {
            inner.settled_by_store();
        }
    }
}
