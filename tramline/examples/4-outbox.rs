//! Rows in SQLite, messages in memory: an outbox row is written with the order, and a relay sends
//! it on. What is rolled back is never published.
//!
//! `cargo run -p tramline --example 4-outbox`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::{Bus, Endpoint, Failure, Message, Sqlite, State, Tx};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: i64,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

#[derive(Serialize, Deserialize)]
struct MailSent {
    order_id: i64,
}
impl Message for MailSent {
    const NAME: &'static str = "mail.sent";
}

/// Inbox row, mail and event are one transaction in SQLite, and the ack follows: a duplicate from
/// the transport writes no second mail.
async fn mail(order: OrderPlaced, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute("INSERT INTO mail VALUES (?1)", [order.order_id])?;
        db.publish(&MailSent { order_id: order.order_id })
    })
}

async fn report(sent: MailSent, State(done): State<mpsc::Sender<i64>>) -> Result<(), Failure> {
    Ok(done.send(sent.order_id).await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (done, mut mails) = mpsc::channel::<i64>(16);
    let store = Sqlite::open("shop.db").await?;
    for table in ["orders (id INTEGER PRIMARY KEY)", "mail (order_id INTEGER)"] {
        let create = format!("CREATE TABLE IF NOT EXISTS {table}");
        store.write(move |db| Ok(db.execute(&create, [])?)).await?;
    }
    let bus = Bus::connect("memory:")
        .await?
        .state(done)
        .store(store.clone())
        .endpoint(Endpoint::new("mail").subscribe::<OrderPlaced>().transactional().handle(mail))
        .endpoint(Endpoint::new("report").subscribe::<MailSent>().handle(report))
        .start()
        .await?;

    let orders = bus.store(&store); // writes rows and events in one transaction
    for is_paid in [true, false] {
        let placed = orders.write(move |db| {
            db.execute("INSERT INTO orders DEFAULT VALUES", [])?;
            let order_id = db.last_insert_rowid();
            db.publish(&OrderPlaced { order_id })?;
            if is_paid { Ok(order_id) } else { Err(Failure::permanent("the card was declined")) }
        });
        match placed.await {
            Ok(order_id) => println!("order {order_id} is written, and its event with it"),
            Err(failure) => println!("neither order nor event: {failure}"),
        }
    }
    println!("mail for order {} is sent", mails.recv().await.ok_or(Failure::permanent("no mail"))?);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
