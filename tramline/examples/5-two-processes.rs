//! Two processes share the work of one queue on one SQLite file, without any server.
//!
//! `cargo run -p tramline --example 5-two-processes`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::{Bus, Endpoint, Failure, Message, Outbox, State};

#[derive(Serialize, Deserialize)]
struct Resize {
    picture: u32,
}
impl Message for Resize {
    const NAME: &'static str = "pictures.resize";
}

#[derive(Serialize, Deserialize)]
struct Resized {
    picture: Option<u32>,
    process: u32,
}
impl Message for Resized {
    const NAME: &'static str = "pictures.resized";
}

/// Runs in both processes.
async fn resize(resize: Resize, outbox: Outbox) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(50)).await; // hard work
    let resized = Resized { picture: Some(resize.picture), process: std::process::id() };
    outbox.send("report", &resized)
}

/// Runs in the first process only.
async fn report(
    resized: Resized,
    State(seen): State<mpsc::Sender<Resized>>,
) -> Result<(), Failure> {
    Ok(seen.send(resized).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One picture at a time, so that no process takes them all.
    let worker = || Endpoint::new("resize").concurrency(1).prefetch(1).handle(resize);
    let bus = Bus::connect("sqlite:pictures.db").await?;
    if std::env::args().nth(1).as_deref() == Some("worker") {
        let bus = bus.endpoint(worker()).start().await?;
        bus.send("report", &Resized { picture: None, process: std::process::id() }).await?;
        // Works until its parent closes the pipe, or is gone.
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        let _drained = bus.drain(Duration::from_secs(5)).await?;
        return Ok(());
    }
    let (seen, mut reports) = mpsc::channel::<Resized>(16);
    let reporter = Endpoint::new("report").handle(report);
    let bus = bus.state(seen).endpoint(worker()).endpoint(reporter).start().await?;
    let mut child =
        Command::new(std::env::current_exe()?).arg("worker").stdin(Stdio::piped()).spawn()?;
    let ready = reports.recv().await.ok_or("no report")?;
    println!("process {} works beside process {}", ready.process, std::process::id());

    let pictures: Vec<_> = (1..=10).map(|picture| Resize { picture }).collect();
    bus.send_all("resize", &pictures).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    for _ in &pictures {
        let Resized { picture, process } = reports.recv().await.ok_or("no report")?;
        println!("picture {} by process {process}", picture.unwrap_or_default());
    }
    drop(child.stdin.take());
    child.wait()?;
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
