//! The suite that every driver passes, on a real broker.

#[path = "rabbitmq/kit.rs"]
mod kit;

use kit::Vhost;
use std::sync::Mutex;
use std::time::Duration;
use tramline_conformance::TransportHarness;
use tramline_core::name::QueueName;
use tramline_rabbitmq::RabbitMq;

mod quorum {
    // Where there is no broker, that was told, and there is nothing to ask.
    tramline_conformance::transport_suite!(match super::Broker::found() {
        Some(broker) => broker,
        None => return,
    });
}

/// A vhost for each test, gone with it.
#[derive(Default)]
struct Broker(Mutex<Vec<Vhost>>);

impl Broker {
    fn found() -> Option<Self> {
        kit::broker().map(|_| Self::default())
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
