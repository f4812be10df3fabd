//! What fails is tried again; what cannot succeed is kept as a dead letter and can be put back.
//!
//! `cargo run -p tramline --example 2-retry`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::{Attempt, Bus, Endpoint, Failure, Message, Retry, State};

#[derive(Serialize, Deserialize)]
struct Charge {
    cents: i64,
}
impl Message for Charge {
    const NAME: &'static str = "charge";
}

/// Hears what is over: charged, or dead.
type Over = mpsc::Sender<String>;

async fn charge(charge: Charge, attempt: Attempt, State(over): State<Over>) -> Result<(), Failure> {
    println!("run {} for {} cents", attempt.0, charge.cents);
    if charge.cents <= 0 {
        return Err(Failure::permanent("nothing to charge")); // no retry can help
    }
    if attempt.0 < 3 {
        return Err(std::io::Error::other("the gateway is down").into()); // tried again
    }
    over.send(format!("{} cents are charged", charge.cents)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (over, mut events) = mpsc::channel::<String>(16);
    let dead = over.clone();
    let endpoint = Endpoint::new("payment")
        // 50 ms in place, then 1.5 s through the transport, so that no slot is blocked.
        .retry(Retry::list([Duration::from_millis(50), Duration::from_millis(1500)]))
        .on_failure(|report| println!("run {} failed: {}", report.attempt, report.failure))
        .on_dead_letter(move |letter| {
            let dead = dead.clone();
            async move {
                let error = letter.error.unwrap_or_default();
                // The program may be over by now: then nobody needs to hear it.
                let _ = dead.send(format!("dead ({}): {error}", letter.reason)).await;
            }
        })
        .handle(charge);
    let bus = Bus::connect("memory:").await?.state(over).endpoint(endpoint).start().await?;

    for cents in [1177, 0] {
        bus.send("payment", &Charge { cents }).await?;
        println!("{}", events.recv().await.ok_or("nothing happened")?);
    }
    println!("redriven: {}", bus.dead_letters("payment")?.redrive_all().await?);
    println!("{}", events.recv().await.ok_or("nothing happened")?);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
