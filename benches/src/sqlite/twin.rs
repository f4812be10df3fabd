//! The twin: callers, handlers and the thread that writes.

use super::cases::BATCH;
use crate::Result;
use crate::folder::{file, folder};
use crate::hand::{Hand, Letter, Taken, Work, consume as work, fill, prepare};
use crate::latency::{Latencies, PACE, paced};
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use std::hint::black_box;

pub(super) fn enqueue(messages: u64, callers: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let hand = Hand::open(&file(&folder))?;
        let watch = Stopwatch::start();
        call(callers, messages, move |number| {
            let hand = hand.clone();
            async move { hand.put(vec![Letter::placed(&OrderPlaced::new(number))?]).await }
        })
        .await?;
        Ok(watch.rate(messages))
    })
}

pub(super) fn enqueue_batches(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let hand = Hand::open(&file(&folder))?;
        let watch = Stopwatch::start();
        for first in (0..messages).step_by(BATCH as usize) {
            let last = messages.min(first + BATCH);
            let orders: Vec<_> = (first..last).map(OrderPlaced::new).collect();
            hand.put(orders.iter().map(Letter::placed).collect::<Result<_>>()?).await?;
        }
        Ok(watch.rate(messages))
    })
}

pub(super) fn consume(messages: u64, concurrency: usize) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        fill(&file(&folder), messages, 0)?;
        let watch = Stopwatch::start();
        let hand = Hand::open(&file(&folder))?;
        work(&hand, messages, concurrency, Handler(|order| drop(black_box(order)))).await?;
        Ok(watch.rate(messages))
    })
}

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let hand = Hand::open(&file(&folder))?;
        let latencies = Latencies::of(messages);
        let noted = latencies.clone();
        let handler = Handler(move |order| noted.note(&order));
        let consumer = hand.clone();
        let consumer = tokio::spawn(async move { work(&consumer, messages, 16, handler).await });
        let watch = Stopwatch::start();
        let put = |order: OrderPlaced| {
            let hand = hand.clone();
            async move { hand.put(vec![Letter::placed(&order)?]).await }
        };
        paced(messages, PACE, put).await?;
        consumer.await??;
        Ok(latencies.run(&watch, messages))
    })
}

/// Reads each message, calls the handler, and acks.
#[derive(Clone)]
struct Handler<H>(H);

impl<H: Fn(OrderPlaced) + Clone + Send + Sync + 'static> Work for Handler<H> {
    type Done = ();
    const SLOT_IS_FREE_BEFORE: bool = true;

    fn handle(&self, taken: &Taken) -> Result<()> {
        let (envelope, order) = taken.read()?;
        black_box(envelope);
        (self.0)(order);
        Ok(())
    }

    async fn settle(&self, hand: &Hand, taken: &Taken, (): ()) -> Result<()> {
        hand.ack(taken).await
    }
}
