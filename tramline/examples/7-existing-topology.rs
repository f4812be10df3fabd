//! Joins a topology that others own: nothing of theirs is declared or changed until something is first
//! delayed for the queue, which is then bound to what brings that back. What the bus needs (`tramline.…`,
//! `Legacy_Invoices-dlq`) stands beside it.
//!
//! A billing system of others has a headers exchange `Legacy.Events` and a queue `Legacy_Invoices`
//! bound to it. Here they are made first, with that system's hands; then this service reads the
//! queue, and publishes to the exchange.
//!
//! `cargo xtask services up rabbitmq` prints a URL; then
//! `TRAMLINE_RABBITMQ_URL=… cargo run -p tramline --features rabbitmq --example 7-existing-topology`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::core::name::QueueName;
use tramline::rabbitmq::{Binding, Exchange};
use tramline::{Bus, Endpoint, Failure, Message, RabbitMq, State};

#[derive(Serialize, Deserialize)]
struct Invoice {
    number: u64,
}
impl Message for Invoice {
    const NAME: &'static str = "invoice";
}

async fn pay(invoice: Invoice, State(paid): State<mpsc::Sender<u64>>) -> Result<(), Failure> {
    paid.send(invoice.number).await?;
    Ok(())
}

/// What the others did, long ago.
async fn before(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let theirs = RabbitMq::connect(url).await?.exchange(Exchange::headers("Legacy.Events")).bind(
        Binding::queue("Legacy_Invoices")
            .from("Legacy.Events")
            .argument("x-match", "all")
            .argument("kind", "invoice"),
    );
    let queue = Endpoint::new("invoices").queue(QueueName::foreign("Legacy_Invoices"));
    let bus = Bus::builder(theirs)
        .endpoint(queue.argument("queue-type", "classic").handle(|_: Invoice| async {}))
        .start()
        .await?;
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("TRAMLINE_RABBITMQ_URL");
    let url = url.unwrap_or_else(|_| "amqp://localhost".to_owned());
    before(&url).await?;

    let (say, mut paid) = mpsc::channel::<u64>(1);
    let broker = RabbitMq::connect(&url).await?.exchange(Exchange::existing("Legacy.Events"));
    let bus = Bus::builder(broker)
        .state(say)
        .endpoint(
            Endpoint::new("invoices")
                .queue(QueueName::foreign("Legacy_Invoices"))
                .argument("declare", "no") // used as it is
                .argument("queue-type", "classic") // which AMQP does not tell
                .handle(pay),
        )
        .start()
        .await?;

    let invoice = Invoice { number: 77 };
    bus.publish_to_exchange("Legacy.Events", "", &invoice).header("kind", "invoice").await?;
    println!("invoice {} is paid", paid.recv().await.ok_or("nothing came")?);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
