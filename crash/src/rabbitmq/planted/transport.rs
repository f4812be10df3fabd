//! A transport with a bug.

use super::Bug;
use std::sync::Arc;
use std::time::Duration;
use tramline::core::Result;
use tramline::core::capabilities::Capabilities;
use tramline::core::clock::{Clock, Deadline, SystemClock};
use tramline::core::dead::FailureNote;
use tramline::core::envelope::Envelope;
use tramline::core::erased::DynTransport;
use tramline::core::health::Health;
use tramline::core::id::MessageId;
use tramline::core::name::QueueName;
use tramline::core::operate::Operate;
use tramline::core::settlement::{Marks, Settled, Settlement};
use tramline::core::topology::{QueueSpec, Topology};
use tramline::core::transport::{
    Delivery, Outgoing, Receiver, Sender, Sent, Source, Ticket, Transport,
};
use tramline::rabbitmq::{RabbitMq, RabbitMqDelivery, RabbitMqReceiver, RabbitMqSender};
use tramline::{Bus, BusBuilder};

/// Less than a broker needs to come back.
const BEHIND_THE_BACK: Duration = Duration::from_secs(3);
/// How long a copy is on its way, and an ack that somebody may be killed before.
const LATE: Duration = Duration::from_millis(300);

/// A bus on the broker at `url`, with this bug planted or as it is.
pub(crate) async fn connect(url: &str, bug: Option<Bug>) -> Result<BusBuilder> {
    let Some(bug) = bug else { return Bus::connect(url).await };
    let planted = Planted { inner: RabbitMq::connect(url).await?, bug };
    Ok(Bus::builder(Box::new(planted) as Box<dyn DynTransport>))
}

struct Planted {
    inner: RabbitMq,
    bug: Bug,
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
    async fn declare(&self, topology: &Topology) -> Result<()> {
        self.inner.declare(topology).await
    }
    async fn sender(&self) -> Result<PlantedSender> {
        Ok(PlantedSender { inner: Arc::new(self.inner.sender().await?), bug: self.bug })
    }
    async fn receiver(&self, source: &Source) -> Result<PlantedReceiver> {
        Ok(PlantedReceiver { inner: self.inner.receiver(source).await?, bug: self.bug })
    }
    fn address(&self, queue: &QueueName) -> Option<String> {
        self.inner.address(queue)
    }
    fn health(&self) -> Health {
        self.inner.health()
    }
    fn operate(&self) -> Option<&dyn Operate> {
        self.inner.operate()
    }
    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.inner.close(deadline).await
    }
}

struct PlantedSender {
    inner: Arc<RabbitMqSender>,
    bug: Bug,
}

impl Sender for PlantedSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        let is_copy = batch.iter().any(|outgoing| outgoing.copy.is_some());
        let late = match self.bug {
            Bug::ConfirmsEarly if !is_copy => Duration::ZERO,
            Bug::ConfirmsCopiesEarly if is_copy => LATE,
            _ => return self.inner.send(batch, deadline).await,
        };
        let (inner, batch) = (self.inner.clone(), batch.to_vec());
        let said = batch.iter().map(|_| Sent::Accepted { routed: Some(true) }).collect();
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            inner.send(&batch, Deadline::after(SystemClock.now(), BEHIND_THE_BACK)).await
        });
        said
    }
}

struct PlantedReceiver {
    inner: RabbitMqReceiver,
    bug: Bug,
}

impl Receiver for PlantedReceiver {
    type Delivery = PlantedDelivery;

    async fn next(&mut self) -> Result<Option<PlantedDelivery>> {
        let Some(inner) = self.inner.next().await? else { return Ok(None) };
        let (mut envelope, bug) = (inner.envelope().clone(), self.bug);
        if bug == Bug::ForgetsIds
            && let (Some(again @ 2..), Some(id)) = (inner.deliveries(), envelope.id.clone())
        {
            Arc::make_mut(&mut envelope).id = Some(MessageId::derive(&id, "again", again));
        }
        let inner = if bug == Bug::AcksOnDelivery {
            inner.settle(Settlement::Ack).await?;
            None
        } else {
            Some(inner)
        };
        Ok(Some(PlantedDelivery { inner, envelope, bug }))
    }
    async fn stop(&mut self) -> Result<()> {
        self.inner.stop().await
    }
}

/// Without `inner` it was acked already, and settling it does nothing.
struct PlantedDelivery {
    inner: Option<RabbitMqDelivery>,
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
    async fn settle(self, how: Settlement) -> Result<Settled> {
        if self.bug == Bug::ForgetsIds {
            tokio::time::sleep(LATE).await;
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
