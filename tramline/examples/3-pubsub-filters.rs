//! One event, many queues: each gets a copy of what its filter lets through.
//!
//! `cargo run -p tramline --example 3-pubsub-filters`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::pipeline::Context;
use tramline::{Bus, Endpoint, Failure, Filter, Message, State, handler::FromContext};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: u64,
    total: String,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
    const PROMOTE: &'static [&'static str] = &["total"]; // also a header
}

#[derive(Serialize, Deserialize)]
struct OrderCancelled(u64);
impl Message for OrderCancelled {
    const NAME: &'static str = "orders.cancelled";
}

/// An extractor of our own: the endpoint's name.
struct At(String);
impl FromContext for At {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        Ok(Self(cx.endpoint().to_owned()))
    }
}

type Seen = mpsc::Sender<String>;

async fn placed(order: OrderPlaced, At(at): At, State(seen): State<Seen>) -> Result<(), Failure> {
    Ok(seen.send(format!("{at}: order {} of {}", order.order_id, order.total)).await?)
}

async fn cancelled(
    order: OrderCancelled,
    At(at): At,
    State(seen): State<Seen>,
) -> Result<(), Failure> {
    Ok(seen.send(format!("{at}: order {} is cancelled", order.0)).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (seen, mut copies) = mpsc::channel::<String>(16);
    let audit = Endpoint::new("audit")
        .subscribe_to("orders", "orders.*", Filter::All) // any event on the topic
        .handle(placed)
        .handle(cancelled);
    // A text that holds a number compares as one: "999.00" is not more than 1000.
    let vip = Endpoint::new("vip")
        .subscribe_where::<OrderPlaced>(Filter::sql("total > 1000 AND region IN ('eu', 'ch')"))
        .handle(placed);
    let bus = Bus::connect("memory:").await?.state(seen).endpoint(audit).endpoint(vip);
    let bus = bus.start().await?;

    for (order_id, total, region) in
        [(1, "999.00", "eu"), (2, "1500.00", "eu"), (3, "9999.00", "us")]
    {
        bus.publish(&OrderPlaced { order_id, total: total.to_owned() })
            .header("region", region)
            .await?;
    }
    bus.publish(&OrderCancelled(1)).await?;
    for _ in 0..5 {
        println!("{}", copies.recv().await.ok_or("too few copies")?);
    }
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
