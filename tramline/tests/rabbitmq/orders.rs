//! An order, whoever hears of it, and what a test waits for.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use tramline::core::erased::DynTransport;
use tramline::core::operate::Peeked;
use tramline::{Bus, BusBuilder, Endpoint, Failure, Message, State};
use tramline_services::testing::{PATIENCE, Raw, Vhost};

pub(crate) const QUEUE: &str = "work";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) order: u64,
}

impl Message for Order {
    const NAME: &'static str = "orders.placed";
}

async fn note(order: Order, State(heard): State<Sender<u64>>) -> Result<(), Failure> {
    heard.send(order.order).await?;
    Ok(())
}

/// The endpoint `work`, which tells of every order.
pub(crate) fn work() -> Endpoint {
    Endpoint::new(QUEUE).handle(note)
}

/// A bus in the vhost, and the numbers of the orders that its handlers hear of.
pub(crate) async fn bus(vhost: &Vhost) -> (BusBuilder<Box<dyn DynTransport>>, Receiver<u64>) {
    let (say, heard) = channel(100);
    (Bus::connect(vhost.url.as_str()).await.unwrap().state(say), heard)
}

/// The queue is declared as `endpoint` asks, and nobody reads it any more.
pub(crate) async fn declared(vhost: &Vhost, endpoint: Endpoint) {
    let (bus, _heard) = bus(vhost).await;
    let bus = bus.endpoint(endpoint).start().await.unwrap();
    let _drained = bus.drain(PATIENCE).await.unwrap();
}

/// The next order that a handler hears of.
pub(crate) async fn next(heard: &mut Receiver<u64>) -> u64 {
    timeout(PATIENCE, heard.recv()).await.expect("an order in time").expect("a running bus")
}

/// Another client sends, and the broker has it.
pub(crate) async fn raw_send(raw: &Raw, exchange: &str, key: &str, body: &[u8]) {
    raw_send_with(raw, exchange, key, body, BasicProperties::default()).await;
}

pub(crate) async fn raw_send_with(
    raw: &Raw,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) {
    raw.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = raw.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    let confirmation = sent.await.unwrap().await.unwrap();
    assert!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
}

/// The dead letters of `work`, once there are `count`.
pub(crate) async fn dead_letters(bus: &Bus, count: usize) -> Vec<Peeked> {
    let looked = async {
        loop {
            let dead = bus.dead_letters(QUEUE).unwrap().peek(None, 100).await.unwrap();
            if dead.len() >= count {
                return dead;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("expected {count} dead letters"))
}

/// Waits until nothing is in the queue any more, unsettled messages included.
pub(crate) async fn emptied(vhost: &Vhost, queue: &str) {
    let looked = async {
        // Figures lag behind: what nobody has counted yet is not shown as 0.
        while vhost.queue(queue)["messages"] != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("expected {queue} to be empty"));
}

/// At least `count` connections are cut. The management plugin lists them a moment after they are there.
pub(crate) async fn cut(vhost: &Vhost, count: usize) {
    let looked = async {
        let mut cut = 0;
        while cut < count {
            cut += vhost.cut_all();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, looked)
        .await
        .unwrap_or_else(|_| panic!("expected {count} connections to cut"));
}
