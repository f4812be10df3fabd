//! Accept now, work soon: an HTTP service that answers 202, and says later how it went.
//!
//! `cargo run -p tramline --example 10-background-queue`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tramline::background::{BackgroundQueue, NotPushed, WhenFull};
use tramline::{Cancel, Failure};

type Statuses = Arc<Mutex<HashMap<u64, &'static str>>>;
type App = State<(BackgroundQueue<u64>, Statuses)>;

async fn accept(State((queue, statuses)): App, Path(picture): Path<u64>) -> (StatusCode, String) {
    match queue.push(picture).await {
        Ok(_) => {
            // It may be done by now.
            statuses.lock().unwrap().entry(picture).or_insert("waits");
            (StatusCode::ACCEPTED, format!("/thumbnails/{picture}"))
        }
        Err(NotPushed::Full(_)) => (StatusCode::TOO_MANY_REQUESTS, "try again later".into()),
        Err(NotPushed::Stopped(_)) => (StatusCode::SERVICE_UNAVAILABLE, "stopping".into()),
    }
}

async fn status(State((_, statuses)): App, Path(picture): Path<u64>) -> (StatusCode, &'static str) {
    let status = statuses.lock().unwrap().get(&picture).copied();
    status.map_or((StatusCode::NOT_FOUND, "unknown"), |status| (StatusCode::OK, status))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let statuses = Statuses::default();
    let told = statuses.clone();
    let shrink = move |picture: u64, _cancel: Cancel| {
        let told = told.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await; // the work
            told.lock().unwrap().insert(picture, "done");
            Ok::<(), Failure>(())
        }
    };
    let queue = BackgroundQueue::named("thumbnails").capacity(100).workers(4);
    let thumbnails = queue.when_full(WhenFull::Reject).start(shrink)?;
    let router = axum::Router::new()
        .route("/thumbnails/{picture}", post(accept).get(status))
        .with_state((thumbnails.clone(), statuses));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    println!("{}", ask(address, "POST").await?);
    let stopped = thumbnails.stop(Duration::from_secs(5)).await; // finishes what is at work
    println!("left: {}, failed: {}", stopped.left.len(), thumbnails.figures().failed);
    println!("{}", ask(address, "GET").await?);
    server.abort();
    Ok(())
}

/// One request for picture 7: the first line of the answer, and its last.
async fn ask(address: std::net::SocketAddr, method: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("{method} /thumbnails/7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let line = |line: Option<&str>| line.unwrap_or_default().to_owned();
    Ok(format!("{method}: {} {}", line(answer.lines().next()), line(answer.lines().last())))
}
