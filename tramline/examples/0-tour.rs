//! The code of the design's first page: an event, two endpoints, and a ledger on one SQLite file.
//!
//! `cargo run -p tramline --example 0-tour`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::{Bus, Endpoint, Failure, Filter, Message, MessageId, Retry, Sqlite, State, Tx};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: u64,
    user_id: u64,
    total: Decimal,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
    const PROMOTE: &'static [&'static str] = &["total"]; // also sent as a typed header
}

#[derive(Serialize, Deserialize)]
struct OrderPaid {
    order_id: u64,
}
impl Message for OrderPaid {
    const NAME: &'static str = "orders.paid";
}

/// Stands for a payment provider's client.
type Gateway = fn(&OrderPlaced, MessageId) -> std::io::Result<()>;

#[rustfmt::skip] // laid out as on that page
async fn charge(order: OrderPlaced, State(gateway): State<Gateway>, id: MessageId, tx: Tx<Sqlite>)
    -> Result<(), Failure> {
    if order.total <= Decimal::ZERO { return Err(Failure::permanent("nothing to charge")); }
    gateway(&order, id)?; // any `?` error is retried; the message id is the gateway's idempotency key
    tx.write(move |db| {  // runs in the group's transaction, together with the ack
        db.execute("INSERT INTO ledger VALUES (?1, ?2)", (order.order_id as i64, order.total.to_string()))?;
        db.publish(&OrderPaid { order_id: order.order_id })
    })
}

type Seen = mpsc::Sender<String>;

async fn greet_vip(order: OrderPlaced, State(seen): State<Seen>) -> Result<(), Failure> {
    Ok(seen.send(format!("user {} is a VIP", order.user_id)).await?)
}

async fn receipt(paid: OrderPaid, State(seen): State<Seen>) -> Result<(), Failure> {
    Ok(seen.send(format!("order {} is paid", paid.order_id)).await?)
}

#[tokio::main]
#[rustfmt::skip]
async fn main() -> Result<(), Failure> {
    let (seen, mut news) = mpsc::channel::<String>(16);
    let gateway: Gateway = |order, key| { println!("charging {} under key {key}", order.total); Ok(()) };
    let store = Sqlite::open("orders.db").await?;
    store.write(|db| Ok(db.execute("CREATE TABLE IF NOT EXISTS ledger (order_id, total)", [])?)).await?;
    let bus = Bus::connect("sqlite:orders.db").await?
        .state(gateway).state(seen).store(store)
        .endpoint(Endpoint::new("payment")
            .subscribe::<OrderPlaced>()
            .retry(Retry::exponential(Duration::from_millis(200)).max(Duration::from_secs(60)).runs(5).jitter())
            .concurrency(16).transactional().handle(charge))
        .endpoint(Endpoint::new("vip").subscribe_where::<OrderPlaced>(Filter::sql("total > 1000")).handle(greet_vip))
        .endpoint(Endpoint::new("receipts").subscribe::<OrderPaid>().handle(receipt))
        .start().await?;

    bus.publish(&OrderPlaced { order_id: 1, user_id: 7, total: "1500.00".parse()? }).await?;
    let order = OrderPlaced { order_id: 2, user_id: 42, total: "11.77".parse()? };
    bus.send("payment", &order).ttl(Duration::from_secs(3600)).key("42").await?;
    for _ in 0..3 { println!("{}", news.recv().await.ok_or(Failure::permanent("no news"))?); }
    let _drained = bus.drain(Duration::from_secs(30)).await?;
    Ok(())
}
