//! The transport's contract.

use super::call::Call;
use super::faulty::Faulty;
use super::receiver::FaultyReceiver;
use super::sender::FaultySender;
use tramline_core::Result;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::Deadline;
use tramline_core::health::Health;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::store::DatabaseId;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Source, Transport};

impl<T: Transport> Transport for Faulty<T> {
    type Sender = FaultySender<T::Sender>;
    type Receiver = FaultyReceiver<T::Receiver>;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        self.inner.capabilities(queue)
    }

    fn database(&self) -> Option<DatabaseId> {
        self.inner.database()
    }

    async fn declare(&self, topology: &Topology) -> Result<()> {
        let effect = async {
            self.inner.declare(topology).await?;
            self.ledger.declared(topology);
            Ok(())
        };
        self.faults.through(Call::Declare, effect).await.heard()
    }

    async fn sender(&self) -> Result<Self::Sender> {
        let inner = self.faults.through(Call::Sender, self.inner.sender()).await.heard()?;
        Ok(FaultySender { inner, faults: self.faults.clone() })
    }

    async fn receiver(&self, source: &Source) -> Result<Self::Receiver> {
        let made = self.faults.through(Call::Receiver, self.inner.receiver(source)).await;
        let queue = source.queue.name().clone();
        Ok(FaultyReceiver::new(made.heard()?, queue, &self.faults, &self.ledger))
    }

    fn address(&self, queue: &QueueName) -> Option<String> {
        self.inner.address(queue)
    }
    fn health(&self) -> Health {
        self.inner.health()
    }

    fn operate(&self) -> Option<&dyn Operate> {
        self.inner.operate().is_some().then_some(self)
    }

    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.faults.through(Call::Close, self.inner.close(deadline)).await.heard()
    }
}
