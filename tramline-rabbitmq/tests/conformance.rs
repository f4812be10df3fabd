//! The suite that every driver passes, on a real broker.

use std::sync::Mutex;
use std::time::Duration;
use tramline_conformance::TransportHarness;
use tramline_core::Result;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::Deadline;
use tramline_core::health::Health;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Source, Transport};
use tramline_rabbitmq::{RabbitMq, RabbitMqReceiver, RabbitMqSender};
use tramline_services::testing::{Vhost, broker};

mod quorum {
    // Where there is no broker, that was told, and there is nothing to ask.
    tramline_conformance::transport_suite!(match super::Broker::found() {
        Some(broker) => broker,
        None => return,
    });
}

mod classic {
    tramline_conformance::transport_suite!(match super::Broker::found() {
        Some(broker) => super::OnlyClassic(broker),
        None => return,
    });
}

/// A vhost for each test, gone with it.
#[derive(Default)]
struct Broker(Mutex<Vec<Vhost>>);

impl Broker {
    fn found() -> Option<Self> {
        broker().map(|_| Self::default())
    }

    /// To the vhost that was made last: a test asks for one.
    async fn connect(&self) -> RabbitMq {
        let url = self.0.lock().unwrap().last().unwrap().url.clone();
        RabbitMq::connect(url.as_str()).await.unwrap()
    }
}

impl TransportHarness for Broker {
    type Transport = RabbitMq;

    async fn fresh(&self) -> RabbitMq {
        let vhost = Vhost::fresh().expect("the broker was there a moment ago");
        self.0.lock().unwrap().push(vhost);
        self.connect().await
    }

    async fn other(&self, _first: &RabbitMq) -> RabbitMq {
        self.connect().await
    }

    /// Its connection breaks. The broker gives what it held to others.
    async fn end_leases(&self, holder: &RabbitMq, _queue: &QueueName) {
        holder.cut().await;
    }

    async fn restart(&self, transport: RabbitMq) -> Option<RabbitMq> {
        transport.cut().await;
        drop(transport);
        Some(self.connect().await)
    }

    /// Acks are not answered by an AMQP broker.
    fn settles_unheard(&self) -> bool {
        true
    }

    /// A broker on the same machine syncs every message to disk.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// The same broker, where every queue is a classic one.
struct OnlyClassic(Broker);

impl TransportHarness for OnlyClassic {
    type Transport = Classic;

    async fn fresh(&self) -> Classic {
        Classic(self.0.fresh().await)
    }

    async fn other(&self, first: &Classic) -> Classic {
        Classic(self.0.other(&first.0).await)
    }

    async fn end_leases(&self, holder: &Classic, queue: &QueueName) {
        self.0.end_leases(&holder.0, queue).await;
    }

    async fn restart(&self, transport: Classic) -> Option<Classic> {
        self.0.restart(transport.0).await.map(Classic)
    }

    fn settles_unheard(&self) -> bool {
        self.0.settles_unheard()
    }

    fn patience(&self) -> Duration {
        self.0.patience()
    }
}

/// Asks for classic queues whatever the scenario asks for.
struct Classic(RabbitMq);

impl Transport for Classic {
    type Sender = RabbitMqSender;
    type Receiver = RabbitMqReceiver;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        self.0.capabilities(&classic(queue.clone()))
    }

    async fn declare(&self, topology: &Topology) -> Result<()> {
        let queues = topology.queues.iter().cloned().map(classic).collect();
        Transport::declare(&self.0, &Topology { queues, ..topology.clone() }).await
    }

    async fn sender(&self) -> Result<RabbitMqSender> {
        Transport::sender(&self.0).await
    }

    async fn receiver(&self, source: &Source) -> Result<RabbitMqReceiver> {
        let spec = classic(source.spec.clone());
        Transport::receiver(&self.0, &Source { spec, ..source.clone() }).await
    }

    fn address(&self, queue: &QueueName) -> Option<String> {
        self.0.address(queue)
    }
    fn health(&self) -> Health {
        self.0.health()
    }

    fn operate(&self) -> Option<&dyn Operate> {
        self.0.operate()
    }

    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.0.close(deadline).await
    }
}

/// Temporary queues are classic already.
fn classic(mut spec: QueueSpec) -> QueueSpec {
    if !spec.temporary {
        spec.arguments.insert("queue-type".to_owned(), "classic".to_owned());
    }
    spec
}
