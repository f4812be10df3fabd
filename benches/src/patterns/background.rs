//! A queue inside the process, and a pool of workers around a channel.

use crate::Result;
use crate::completion::Completion;
use crate::load::{call, runtime};
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use futures_util::FutureExt;
use std::hint::black_box;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tramline::background::BackgroundQueue;
use tramline::{Cancel, Failure};

const PRODUCERS: u64 = 16;
const WORKERS: usize = 4;
const CAPACITY: usize = 1000;

pub(super) fn ours(items: u64, limit: Option<Duration>) -> Result<Run> {
    runtime()?.block_on(async {
        let done = Completion::of(items);
        let counted = done.clone();
        let work = move |number: u64, _: Cancel| {
            counted.count(black_box(number));
            std::future::ready(Ok::<(), Failure>(()))
        };
        let mut queue = BackgroundQueue::named("bench").capacity(CAPACITY).workers(WORKERS);
        if let Some(limit) = limit {
            queue = queue.time_limit(limit);
        }
        let queue = queue.start(work)?;
        let watch = Stopwatch::start();
        call(PRODUCERS, items, move |number| {
            let queue = queue.clone();
            async move { queue.push(number).await.map(drop).map_err(Into::into) }
        })
        .await?;
        done.wait().await;
        Ok(watch.rate(items))
    })
}

pub(super) fn twin(items: u64, limit: Option<Duration>) -> Result<Run> {
    runtime()?.block_on(async {
        let done = Completion::of(items);
        let (sender, taken) = mpsc::channel::<u64>(CAPACITY);
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..WORKERS {
            let (taken, done) = (taken.clone(), done.clone());
            tokio::spawn(async move {
                loop {
                    let next = taken.lock().await.recv().await;
                    let Some(number) = next else { return };
                    let done = &done;
                    let work = async move {
                        done.count(black_box(number));
                        Ok::<(), Failure>(())
                    };
                    let limited = async move {
                        match limit {
                            Some(limit) => timeout(limit, work).await.is_ok_and(|it| it.is_ok()),
                            None => work.await.is_ok(),
                        }
                    };
                    black_box(AssertUnwindSafe(limited).catch_unwind().await.is_ok());
                }
            });
        }
        let watch = Stopwatch::start();
        call(PRODUCERS, items, move |number| {
            let sender = sender.clone();
            async move { sender.send(number).await.map_err(Into::into) }
        })
        .await?;
        done.wait().await;
        Ok(watch.rate(items))
    })
}
