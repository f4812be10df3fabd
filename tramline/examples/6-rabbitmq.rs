//! The same handlers on RabbitMQ: a topic, a retry after a pause on the broker, a dead letter.
//!
//! `cargo xtask services up rabbitmq` prints a URL; then
//! `TRAMLINE_RABBITMQ_URL=… cargo run -p tramline --features rabbitmq --example 6-rabbitmq`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::core::name::{QueueName, QueueRef};
use tramline::{Attempt, Bus, Endpoint, Failure, Message, Retry, State};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: u64,
    cents: i64,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "example6.placed";
}

type Said = mpsc::Sender<String>;

async fn charge(
    order: OrderPlaced,
    attempt: Attempt,
    State(said): State<Said>,
) -> Result<(), Failure> {
    if order.cents <= 0 {
        return Err(Failure::permanent("nothing to charge")); // → example6.payment-dlq
    }
    if attempt.0 == 1 {
        return Err(Failure::retryable("the gateway does not answer")); // → a stage queue
    }
    said.send(format!("order {} is charged at attempt {}", order.order_id, attempt.0)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("TRAMLINE_RABBITMQ_URL");
    let url = url.unwrap_or_else(|_| "amqp://localhost".to_owned());
    let (say, mut said) = mpsc::channel(10);
    let dead = say.clone();
    let bus = Bus::connect(&url)
        .await?
        .state(say)
        .endpoint(
            Endpoint::new("example6.payment")
                .subscribe::<OrderPlaced>()
                // Longer than a second, so that the message waits at the broker and not in a slot.
                .retry(Retry::fixed(Duration::from_millis(1500)).runs(3))
                .on_dead_letter(move |letter| {
                    let (dead, why) = (dead.clone(), letter.error.unwrap_or_default());
                    async move {
                        // Nobody listens any more: the example is over.
                        let _ = dead.send(format!("a dead letter: {}, {why}", letter.reason)).await;
                    }
                })
                .handle(charge),
        )
        .start()
        .await?;
    println!("connected: {:?}", bus.health());

    bus.publish(&OrderPlaced { order_id: 1, cents: 1177 }).await?;
    bus.publish(&OrderPlaced { order_id: 2, cents: 0 }).await?;
    for _ in 0..2 {
        println!("{}", said.recv().await.ok_or("nothing happened")?);
    }
    let letters = bus.dead_letters("example6.payment")?;
    println!(
        "{} back from the dead-letter queue, and forgotten",
        letters.peek(None, 10).await?.len()
    );
    bus.operate()?.purge(&QueueRef::Dead(QueueName::new("example6.payment")?)).await?;
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
