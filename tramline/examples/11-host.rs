//! One program of an HTTP server, a bus, a queue and a worker: started in order, stopped in reverse.
//!
//! `cargo run -p tramline --features cron --example 11-host`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::net::TcpListener;
use tramline::background::BackgroundQueue;
use tramline::host::{Host, Hosted, Worker};
use tramline::{Bus, Cancel, Endpoint, Failure, Message, Retry};

#[derive(Serialize, Deserialize)]
struct PriceChanged {
    cents: u64,
}
impl Message for PriceChanged {
    const NAME: &'static str = "prices.changed";
}

async fn show(price: PriceChanged) {
    println!("the price is {} cents", price.cents);
}

async fn mail(address: String, _cancel: Cancel) {
    println!("a mail to {address}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = Endpoint::new("shop-window").subscribe::<PriceChanged>().handle(show);
    let bus = Bus::connect("memory:").await?.endpoint(endpoint).start().await?;
    let mails = BackgroundQueue::named("mails").start(mail)?;

    let prices = bus.clone();
    let refresh = Worker::every(Duration::from_millis(50)).at_once().run(move |_cancel| {
        let prices = prices.clone();
        async move {
            prices.publish(&PriceChanged { cents: 1177 }).await?;
            Ok::<(), Failure>(())
        }
    })?;
    let report = Worker::cron("0 3 * * *", "Europe/Berlin")?.run(|_cancel| async {
        println!("the nightly report");
    })?;
    // A port that is taken is tried again; everything before it runs by then.
    let http = Hosted::new("http", |running| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening");
        running.ready();
        let router = axum::Router::new();
        axum::serve(listener, router).with_graceful_shutdown(running.stopping()).await?;
        println!("no more requests");
        Ok::<(), Failure>(())
    });
    let http = http.says_ready().restart(Retry::fixed(Duration::from_secs(1)).runs(10));

    let host = Host::new().limit(Duration::from_secs(20)).bus("bus", bus).queue(mails.clone());
    let host = host.worker("prices", refresh).worker("report", report).with(http);
    let handle = host.handle();
    let running = tokio::spawn(host.run()); // until SIGTERM or ctrl-c
    if !handle.ready().await {
        return Err(running.await?.err().map_or("stopped".into(), Into::into));
    }
    let _ = mails.push("a@example.org".to_owned()).await?;
    tokio::time::sleep(Duration::from_millis(120)).await;
    handle.stop();
    let stopped = running.await??;
    println!("cut short: {:?}", stopped.cut_short);
    Ok(())
}
