//! The contract of a transport.

use crate::capabilities::capabilities;
use crate::link::{LinkState, worse};
use crate::rabbitmq::RabbitMq;
use crate::receive::RabbitMqReceiver;
use crate::send::RabbitMqSender;
use tramline_core::Result;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::Deadline;
use tramline_core::health::Health;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Source, Transport};

impl Transport for RabbitMq {
    type Sender = RabbitMqSender;
    type Receiver = RabbitMqReceiver;

    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        let agreed = match self.shared.consuming.state() {
            LinkState::Up(session) => Some(session.frame_bytes_max()),
            LinkState::Down { .. } | LinkState::Closed => None,
        };
        capabilities(queue, &self.shared.options, agreed)
    }

    async fn declare(&self, topology: &Topology) -> Result<()> {
        self.shared.declared.declare(&self.shared.consuming, topology).await
    }

    async fn sender(&self) -> Result<RabbitMqSender> {
        Ok(RabbitMqSender::new(self.shared.clone()))
    }

    async fn receiver(&self, source: &Source) -> Result<RabbitMqReceiver> {
        RabbitMqReceiver::open(self.shared.clone(), source).await
    }

    fn address(&self, queue: &QueueName) -> Option<String> {
        self.shared.declared.names.given(queue).map(|given| given.to_string())
    }

    /// Of its two connections, how the worse one is.
    fn health(&self) -> Health {
        let (publishing, consuming) = (&self.shared.publishing, &self.shared.consuming);
        worse(publishing.state().health(), consuming.state().health())
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }

    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.close_by(deadline).await;
        Ok(())
    }
}
