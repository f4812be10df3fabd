//! The twin: a channel of Tokio's, ids, JSON both ways, a task for each message.

use super::cases::{CONCURRENCY, PRODUCERS};
use crate::Result;
use crate::completion::Completion;
use crate::load::{call, one_thread, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use allocation_counter::measure;
use bytes::Bytes;
use std::hint::black_box;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tramline::core::clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline::{Message, MessageId};

/// What travels with a message by hand.
struct Letter {
    id: MessageId,
    name: &'static str,
    sent_at: Timestamp,
    body: Bytes,
}

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let done = Completion::of(messages);
        let (sender, letters) = mpsc::unbounded_channel();
        tokio::spawn(handle_all(letters, done.clone()));
        let watch = Stopwatch::start();
        send(sender, messages).await?;
        done.wait().await;
        Ok(watch.rate(messages))
    })
}

pub(super) fn produce(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let (sender, letters) = mpsc::unbounded_channel();
        let watch = Stopwatch::start();
        send(sender, messages).await?;
        let run = watch.rate(messages);
        drop(letters);
        Ok(run)
    })
}

pub(super) fn consume(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let letters = backlog(messages).await?;
        let watch = Stopwatch::start();
        let done = Completion::of(messages);
        tokio::spawn(handle_all(letters, done.clone()));
        done.wait().await;
        Ok(watch.rate(messages))
    })
}

pub(super) fn consume_on_one_thread(messages: u64) -> Result<Run> {
    let runtime = one_thread()?;
    let letters = runtime.block_on(backlog(messages))?;
    costs(messages, || {
        runtime.block_on(async {
            let done = Completion::of(messages);
            tokio::spawn(handle_all(letters, done.clone()));
            done.wait().await;
            Ok(())
        })
    })
}

/// Time and allocations of `work` on this thread, without those of decoding.
pub(super) fn costs(messages: u64, work: impl FnOnce() -> Result<()>) -> Result<Run> {
    let body = serde_json::to_vec(&OrderPlaced::new(0))?;
    let mut decoded = Ok(());
    let decoding = measure(|| decoded = decode(&body).map(drop));
    decoded?;
    let watch = Stopwatch::start();
    let mut ended = Ok(());
    let all = measure(|| ended = work());
    ended?;
    let allocations = all.count_total as f64 / messages as f64 - decoding.count_total as f64;
    Ok(watch.run(messages, vec![watch.nanos_per_message(messages), allocations]))
}

async fn send(letters: mpsc::UnboundedSender<Letter>, messages: u64) -> Result<()> {
    call(PRODUCERS, messages, move |number| {
        let letters = letters.clone();
        async move {
            let order = OrderPlaced::new(number);
            let sent_at = SystemClock.now();
            let letter = Letter {
                id: MessageId::new(sent_at, SystemEntropy.bits()),
                name: OrderPlaced::NAME,
                sent_at,
                body: serde_json::to_vec(&order)?.into(),
            };
            letters.send(letter).map_err(|_| "the consumer has ended".into())
        }
    })
    .await
}

async fn backlog(messages: u64) -> Result<mpsc::UnboundedReceiver<Letter>> {
    let (sender, letters) = mpsc::unbounded_channel();
    send(sender, messages).await?;
    Ok(letters)
}

async fn handle_all(mut letters: mpsc::UnboundedReceiver<Letter>, done: Completion) {
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    while let Some(letter) = letters.recv().await {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let done = done.clone();
        tokio::spawn(async move {
            black_box((&letter.id, letter.name, letter.sent_at));
            // A body that cannot be read is never counted, and the bench does not end.
            if let Ok(order) = decode(&letter.body) {
                done.count(order.number());
            }
            drop(slot);
        });
    }
}

fn decode(body: &[u8]) -> Result<OrderPlaced> {
    Ok(black_box(serde_json::from_slice(body)?))
}
