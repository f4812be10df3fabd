//! A message, a handler, a bus in memory: the smallest whole program.
//!
//! `cargo run -p tramline --example 1-hello`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::{Bus, Endpoint, Failure, Message, State};

#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}
impl Message for Greet {
    const NAME: &'static str = "greet";
}

async fn greet(greet: Greet, State(done): State<mpsc::Sender<String>>) -> Result<(), Failure> {
    done.send(format!("Hello, {}!", greet.name)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (done, mut greetings) = mpsc::channel::<String>(1);
    let bus = Bus::connect("memory:")
        .await?
        .state(done)
        .endpoint(Endpoint::new("greeter").handle(greet))
        .start()
        .await?;

    bus.send("greeter", &Greet { name: "world".to_owned() }).await?;
    println!("{}", greetings.recv().await.ok_or("nobody greeted")?);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
