//! Requests of a hundred callers; by hand in memory: a channel to workers, and one for each reply.

use crate::Result;
use crate::folder::{file, folder};
use crate::load::{call, runtime};
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tramline::core::transport::Transport;
use tramline::request::Request;
use tramline::{Bus, Endpoint, Memory, Message, Sqlite};

const CALLERS: u64 = 100;
const WORKERS: usize = 16;
const DRAIN: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct CheckStock {
    sku: u64,
}
impl Message for CheckStock {
    const NAME: &'static str = "stock.check";
}
impl Request for CheckStock {
    type Reply = Stock;
}

#[derive(Serialize, Deserialize)]
struct Stock {
    sku: u64,
}
impl Message for Stock {
    const NAME: &'static str = "stock.checked";
}

async fn check(request: CheckStock) -> Stock {
    Stock { sku: request.sku }
}

pub(super) fn memory(requests: u64) -> Result<Run> {
    runtime()?.block_on(async { ask(Memory::new(), requests).await })
}

pub(super) fn sqlite(requests: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async { ask(Sqlite::open(file(&folder)).await?, requests).await })
}

async fn ask<T: Transport>(transport: T, requests: u64) -> Result<Run> {
    let stock = Endpoint::new("stock").concurrency(CALLERS as usize).respond(check);
    let bus = Bus::builder(transport).endpoint(stock).start().await?;
    let watch = Stopwatch::start();
    let asking = bus.clone();
    call(CALLERS, requests, move |sku| {
        let bus = asking.clone();
        async move { same(sku, bus.request("stock", &CheckStock { sku }).await?.sku) }
    })
    .await?;
    let run = watch.rate(requests);
    let _ = bus.drain(DRAIN).await?;
    Ok(run)
}

fn same(asked: u64, answered: u64) -> Result<()> {
    if asked == answered { Ok(()) } else { Err("a reply went to another requester".into()) }
}

/// Bodies are encoded and decoded, as they are on a bus.
pub(super) fn twin(requests: u64) -> Result<Run> {
    type Asked = (Vec<u8>, oneshot::Sender<Vec<u8>>);
    runtime()?.block_on(async {
        let (sender, taken) = mpsc::channel::<Asked>(1000);
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..WORKERS {
            let taken = taken.clone();
            tokio::spawn(async move {
                loop {
                    let next = taken.lock().await.recv().await;
                    let Some((body, reply)) = next else { return };
                    let Ok(request) = serde_json::from_slice(&body) else { continue };
                    let stock = check(request).await;
                    let _ = reply.send(serde_json::to_vec(&stock).unwrap_or_default());
                }
            });
        }
        let watch = Stopwatch::start();
        call(CALLERS, requests, move |sku| {
            let sender = sender.clone();
            async move {
                let (reply, answer) = oneshot::channel();
                sender.send((serde_json::to_vec(&CheckStock { sku })?, reply)).await?;
                let stock: Stock = serde_json::from_slice(&answer.await?)?;
                same(sku, stock.sku)
            }
        })
        .await?;
        Ok(watch.rate(requests))
    })
}
