//! The twin: the client library alone, in its best form.
//!
//! One channel publishes for all, confirms are awaited while others are on their way, and acks of
//! what is done go out together.

use super::broker;
use super::cases::CONCURRENCY;
use crate::Result;
use crate::latency::{Latencies, PACE, paced, publish_each as each};
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tramline::MessageId;
use tramline::core::clock::{Clock, Entropy, SystemClock, SystemEntropy};

pub(crate) const QUEUE: &str = "bench-by-hand";
/// How many messages may be unsettled.
const PREFETCH: u16 = 1000;

/// How the twin acks.
#[derive(Clone, Copy)]
pub(crate) enum Acks {
    /// All that is done up to a message, at once.
    Together,
    /// Each message by itself.
    Each,
}

pub(super) fn publish(messages: u64, callers: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let connection = broker::connect().await?;
        broker::fresh(&connection, QUEUE).await?;
        let channel = broker::confirming(&connection).await?;
        let watch = Stopwatch::start();
        call(callers, messages, move |number| {
            let channel = channel.clone();
            async move { put(&channel, QUEUE, &OrderPlaced::new(number)).await }
        })
        .await?;
        let run = watch.rate(messages);
        broker::purge(&connection, QUEUE).await?;
        Ok(run)
    })
}

pub(super) fn publish_each(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let connection = broker::connect().await?;
        broker::fresh(&connection, QUEUE).await?;
        let channel = broker::confirming(&connection).await?;
        let run = each(messages, move |order| {
            let channel = channel.clone();
            async move { put(&channel, QUEUE, &order).await }
        })
        .await?;
        broker::purge(&connection, QUEUE).await?;
        Ok(run)
    })
}

pub(super) fn consume(messages: u64, acks: Acks) -> Result<Run> {
    runtime()?.block_on(async {
        let connection = broker::connect().await?;
        broker::fresh(&connection, QUEUE).await?;
        fill(QUEUE, messages).await?;
        let watch = Stopwatch::start();
        take(&connection, messages, acks, |order| drop(black_box(order))).await?;
        Ok(watch.rate(messages))
    })
}

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let connection = broker::connect().await?;
        broker::fresh(&connection, QUEUE).await?;
        let channel = broker::confirming(&connection).await?;
        let latencies = Latencies::of(messages);
        let noted = latencies.clone();
        let consumer = broker::connect().await?;
        let consumer = tokio::spawn(async move {
            take(&consumer, messages, Acks::Together, move |order| noted.note(&order)).await
        });
        let watch = Stopwatch::start();
        paced(messages, PACE, |order| {
            let channel = channel.clone();
            async move { put(&channel, QUEUE, &order).await }
        })
        .await?;
        consumer.await??;
        Ok(latencies.run(&watch, messages))
    })
}

/// Puts `messages` into `queue`, as a client would.
pub(super) async fn fill(queue: &'static str, messages: u64) -> Result<()> {
    let connection = broker::connect().await?;
    let channel = broker::confirming(&connection).await?;
    call(1000, messages, move |number| {
        let channel = channel.clone();
        async move { put(&channel, queue, &OrderPlaced::new(number)).await }
    })
    .await
}

/// Publishes with the properties and headers that ours has, and waits for the confirm.
async fn put(channel: &Channel, queue: &'static str, order: &OrderPlaced) -> Result<()> {
    put_body(channel, queue, &serde_json::to_vec(order)?).await
}

/// The same of an order that is written down already.
pub(crate) async fn put_body(channel: &Channel, queue: &'static str, body: &[u8]) -> Result<()> {
    let now = SystemClock.now();
    let mut headers = FieldTable::default();
    headers.insert("tramline_sent_at".into(), AMQPValue::LongLongInt(now.as_millis()));
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(MessageId::new(now, SystemEntropy.bits()).to_string().into())
        .with_type("orders.placed".into())
        .with_timestamp(now.as_millis().unsigned_abs() / 1000)
        .with_headers(headers);
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish("".into(), queue.into(), mandatory, body, properties).await?;
    match sent.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("a message was not taken: {other:?}").into()),
    }
}

/// Handles `messages` in tasks, as many at once as ours.
pub(crate) async fn take(
    connection: &Connection,
    messages: u64,
    acks: Acks,
    handle: impl Fn(OrderPlaced) + Clone + Send + 'static,
) -> Result<()> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(QUEUE.into(), "twin".into(), options, FieldTable::default()).await?;
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    let (done, tags) = mpsc::unbounded_channel();
    let acker = tokio::spawn(ack(channel.clone(), tags, messages, acks));
    for _ in 0..messages {
        let delivery = consumer.next().await.ok_or("the consumer ended")??;
        let slot = slots.clone().acquire_owned().await?;
        let (done, handle) = (done.clone(), handle.clone());
        tokio::spawn(async move {
            black_box(&delivery.properties);
            handle(serde_json::from_slice(&delivery.data)?);
            done.send(delivery.delivery_tag)?;
            drop(slot);
            Result::Ok(())
        });
    }
    acker.await?
}

/// Acks `messages` as they are done, in whatever order.
async fn ack(
    channel: Channel,
    mut tags: mpsc::UnboundedReceiver<u64>,
    messages: u64,
    acks: Acks,
) -> Result<()> {
    let together = BasicAckOptions { multiple: true };
    let (mut waiting, mut acked, mut taken) = (BTreeSet::new(), 0, Vec::new());
    let mut done = 0;
    while done < messages {
        let more = tags.recv_many(&mut taken, PREFETCH.into()).await;
        if more == 0 {
            return Err("a message was not handled".into());
        }
        done += more as u64;
        if let Acks::Each = acks {
            for tag in taken.drain(..) {
                channel.basic_ack(tag, BasicAckOptions::default()).await?;
            }
            continue;
        }
        waiting.extend(taken.drain(..));
        let before = acked;
        while waiting.remove(&(acked + 1)) {
            acked += 1;
        }
        if acked > before {
            channel.basic_ack(acked, together).await?;
        }
    }
    Ok(())
}
