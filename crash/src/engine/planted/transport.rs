//! A transport with a bug.

use super::bug::Bug;
use futures_util::FutureExt;
use std::sync::Arc;
use tramline::Memory;
use tramline::core::Result;
use tramline::core::capabilities::Capabilities;
use tramline::core::clock::Deadline;
use tramline::core::dead::FailureNote;
use tramline::core::envelope::Envelope;
use tramline::core::operate::Operate;
use tramline::core::settlement::{Marks, Settled, Settlement};
use tramline::core::store::DatabaseId;
use tramline::core::topology::{QueueSpec, Topology};
use tramline::core::transport::{
    Delivery, Outgoing, Receiver, Sender, Sent, Source, Ticket, Transport,
};
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
        self.inner.declare(topology).await
    }
    async fn sender(&self) -> Result<PlantedSender> {
        Ok(PlantedSender { inner: Arc::new(self.inner.sender().await?), bug: self.bug })
    }
    async fn receiver(&self, source: &Source) -> Result<PlantedReceiver> {
        let inner = self.inner.receiver(source).await?;
        Ok(PlantedReceiver { inner, bug: self.bug, delivered: 0 })
    }
    fn operate(&self) -> Option<&dyn Operate> {
        self.inner.operate()
    }
    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.inner.close(deadline).await
    }
}

pub(super) struct PlantedSender {
    inner: Arc<<Inner as Transport>::Sender>,
    bug: Bug,
}

impl Sender for PlantedSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        let is_copy = batch.iter().any(|outgoing| outgoing.copy.is_some());
        if self.bug != Bug::ConfirmsCopiesEarly || !is_copy {
            return self.inner.send(batch, deadline).await;
        }
        let (inner, later) = (self.inner.clone(), batch.to_vec());
        tokio::spawn(async move { inner.send(&later, deadline).await });
        batch.iter().map(|_| Sent::Accepted { routed: Some(true) }).collect()
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
        if self.bug != Bug::AcksOnDelivery {
            return Ok(Some(PlantedDelivery {
                acked: inner.envelope().clone(),
                inner: Some(inner),
                bug: self.bug,
            }));
        }
        let acked = inner.envelope().clone();
        inner.settle(Settlement::Ack).await?;
        Ok(Some(PlantedDelivery { acked, inner: None, bug: self.bug }))
    }
    async fn stop(&mut self) -> Result<()> {
        self.inner.stop().await
    }
}

/// Without `inner` it was acked already, and settling it does nothing.
pub(super) struct PlantedDelivery {
    inner: Option<InnerDelivery>,
    acked: Arc<Envelope>,
    bug: Bug,
}

impl Delivery for PlantedDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.acked
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
    async fn settle(self, how: Settlement) -> Result<Settled> {
        let is_acked = self.bug == Bug::AcksWhatIsReturned && how == Settlement::Return;
        let how = if is_acked { Settlement::Ack } else { how };
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
