//! Work that is asked for often is done once: while the index of a shop is queued or being built, asking for it again
//! is dropped. A build that takes too long is cancelled.
//!
//! `cargo run -p tramline --example 18-unique`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::future::pending;
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::{Bus, Cancel, Endpoint, Message, MessageId, State};

#[derive(Serialize, Deserialize)]
struct BuildIndex {
    shop: u32,
}

impl Message for BuildIndex {
    const NAME: &'static str = "shops.build-index";
}

/// Shop 13 is too much for it.
async fn build(
    index: BuildIndex,
    id: MessageId,
    cancel: Cancel,
    State(began): State<mpsc::Sender<(u32, MessageId)>>,
) {
    let _told = began.send((index.shop, id)).await;
    if index.shop == 13 {
        tokio::select! {
            () = cancel.cancelled() => println!("shop 13: cancelled"),
            () = pending() => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (began, mut builds) = mpsc::channel::<(u32, MessageId)>(10);
    let index = Endpoint::new("search-index").unique().concurrency(1).handle(build);
    let bus = Bus::connect("memory:").await?.state(began).endpoint(index).start().await?;

    let ask = async |shop: u32| {
        bus.send("search-index", &BuildIndex { shop }).key(shop.to_string()).await.map(|_| ())
    };
    ask(13).await?;
    let Some((13, stuck)) = builds.recv().await else { return Err("shop 13 comes first".into()) };
    for shop in [13, 7, 7, 7, 8] {
        ask(shop).await?;
    }
    bus.cancel_running(&stuck, Duration::from_secs(5));
    for expected in [7, 8] {
        let (shop, id) = builds.recv().await.ok_or("no more builds")?;
        println!("shop {shop}: built once, as {id}");
        assert_eq!(shop, expected);
    }
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    assert!(builds.try_recv().is_err(), "what was asked for meanwhile is not done again");
    Ok(())
}
