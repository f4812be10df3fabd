//! Rows and events in one PostgreSQL transaction, the user's own or a handler's. Events go to RabbitMQ by a
//! relay if its URL is given, else into queues of the same database.
//!
//! `cargo xtask services up postgres` prints a URL; then
//! `TRAMLINE_POSTGRES_URL=… cargo run -p tramline --all-features --example 9-outbox-postgres [amqp://…]`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::postgres::{PostgresWriter, sqlx};
use tramline::{Bus, Endpoint, Failure, Message, Postgres, State, Tx};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: i64,
    cents: i64,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "example9.placed";
}

#[derive(Serialize, Deserialize)]
struct OrderPaid {
    order_id: i64,
}
impl Message for OrderPaid {
    const NAME: &'static str = "example9.paid";
}

/// What a handler of `POST /orders` does, in a transaction of its own making.
async fn place_order(shop: &PostgresWriter, cents: i64) -> Result<i64, Failure> {
    let mut transaction = shop.pool().begin().await?;
    let order_id: i64 =
        sqlx::query_scalar("INSERT INTO example9_orders (cents) VALUES ($1) RETURNING id")
            .bind(cents)
            .fetch_one(&mut *transaction)
            .await?;
    shop.outbox(&mut transaction).publish(&OrderPlaced { order_id, cents }).await?;
    if cents <= 0 {
        return Err(Failure::permanent("the card was declined")); // the order, and its event: gone
    }
    transaction.commit().await?;
    shop.committed(); // whoever waits is woken now, and not a moment later
    Ok(order_id)
}

/// The row, the event and the inbox are one transaction; a duplicate charges nobody twice. Statements are
/// queued: handlers that end at the same time share a commit.
async fn charge(order: OrderPlaced, mut tx: Tx<Postgres>) -> Result<(), Failure> {
    let ledger = "INSERT INTO example9_ledger (order_id, cents) VALUES ($1, $2)";
    tx.write(ledger, (order.order_id, order.cents))?;
    tx.publish(&OrderPaid { order_id: order.order_id })
}

async fn report(paid: OrderPaid, State(done): State<mpsc::Sender<i64>>) -> Result<(), Failure> {
    Ok(done.send(paid.order_id).await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::var("TRAMLINE_POSTGRES_URL");
    let url = url.unwrap_or_else(|_| "postgres://localhost/postgres".to_owned());
    let (done, mut paid) = mpsc::channel::<i64>(16);
    let store = Postgres::connect(&url).await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS example9_orders
             (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, cents bigint NOT NULL);
         CREATE TABLE IF NOT EXISTS example9_ledger (order_id bigint NOT NULL, cents bigint NOT NULL)",
    )
    .execute(store.pool())
    .await?;
    let transport = std::env::args().nth(1).unwrap_or(url);
    let bus = Bus::connect(&transport)
        .await?
        .state(done)
        .store(store.clone())
        .endpoint(
            Endpoint::new("example9.payment")
                .subscribe::<OrderPlaced>()
                .transactional()
                .handle(charge),
        )
        .endpoint(Endpoint::new("example9.report").subscribe::<OrderPaid>().handle(report))
        .start()
        .await?;

    let shop = bus.store(&store);
    for cents in [1177, -5] {
        match place_order(&shop, cents).await {
            Ok(order_id) => println!("order {order_id} is placed, and its event with it"),
            Err(failure) => println!("neither order nor event: {failure}"),
        }
    }
    let order_id = paid.recv().await.ok_or(Failure::permanent("nothing was paid"))?;
    println!("order {order_id} is paid; unsent: {:?}", bus.unsent(&store).depth().await?);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
