//! Requests: a command that is answered, from any process on the same file. The responder publishes and replies
//! in one transaction; who asks for what is not there learns that, and nothing of the responder's insides.
//!
//! `cargo run -p tramline --example 14-requests`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tramline::request::{Mediator, Request, RequestError};
use tramline::sqlite::Sqlite;
use tramline::{Bus, Endpoint, Failure, Message, State};

#[derive(Serialize, Deserialize)]
struct CheckStock {
    sku: String,
}
impl Message for CheckStock {
    const NAME: &'static str = "stock.check";
}
impl Request for CheckStock {
    type Reply = Stock;
}

#[derive(Serialize, Deserialize)]
struct Stock {
    left: u32,
}
impl Message for Stock {
    const NAME: &'static str = "stock.checked";
}

/// What is there.
#[derive(Clone)]
struct Shelf(&'static [(&'static str, u32)]);

async fn check(request: CheckStock, State(shelf): State<Shelf>) -> Result<Stock, Failure> {
    let found = shelf.0.iter().find(|(sku, _)| *sku == request.sku);
    let (_, left) = found.ok_or_else(|| Failure::rejected("there is no such article"))?;
    Ok(Stock { left: *left })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shelf = Shelf(&[("pen", 12), ("ink", 0)]);
    let folder = tempfile::tempdir()?;
    let file = Sqlite::open(folder.path().join("shop.db")).await?;

    // One process answers …
    let stock = Endpoint::new("stock").transactional().respond(check);
    let warehouse = Bus::builder(file.clone()).store(file.clone()).state(shelf.clone());
    let warehouse = warehouse.endpoint(stock).start().await?;

    // … and another one asks.
    let shop = Bus::builder(Sqlite::open(folder.path().join("shop.db")).await?).start().await?;
    let pen = CheckStock { sku: "pen".to_owned() };
    println!("{} pens", shop.request("stock", &pen).ttl(Duration::from_secs(5)).await?.left);
    let unicorn = CheckStock { sku: "unicorn".to_owned() };
    match shop.request("stock", &unicorn).await {
        Err(RequestError::Failed { failure, .. }) => println!("a unicorn {failure}"),
        other => println!("{} unicorns", other?.left),
    }
    let _drained =
        (shop.drain(Duration::from_secs(5)).await?, warehouse.drain(Duration::from_secs(5)).await?);

    // The same handler, inside one process and without a bus:
    let mediator = Mediator::builder().state(shelf).respond(check).start()?;
    println!(
        "{} bottles of ink",
        mediator.request(CheckStock { sku: "ink".to_owned() }).await?.left
    );
    Ok(())
}
