//! Looks at what stands in a queue: AMQP shows a message only to who takes it.
//!
//! A browser takes messages from the head on, page by page, and holds them: nobody else gets them
//! meanwhile. Then it gives them back to their places. However it ends, the broker gives back what it
//! holds: at the latest when its channel is gone.

use crate::error::{failed, is_missing};
use crate::link::Session;
use crate::wire::{Incoming, read};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use std::iter;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tramline_core::name::QueueRef;
use tramline_core::{Error, ErrorKind, Result};

/// How many are taken at once.
pub(super) const PAGE: u32 = 500;
/// So many go back with one frame: a quorum queue keeps the order of those that come back together
/// only if they are no more.
const TOGETHER: usize = 32;
/// After so many frames it is waited for: if more are under way, the broker puts several together.
const FRAMES_MAX: usize = 16;
/// How long nothing may come, before the broker is asked whether anything is left.
const SILENCE: Duration = Duration::from_millis(500);
/// How long nothing may come although something is there.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long to wait until what was given back is seen there again.
const BACK_MAX: Duration = Duration::from_secs(5);
/// The same where others take messages, perhaps these.
const BACK_MAX_BESIDE_OTHERS: Duration = Duration::from_millis(100);
/// The same among dead letters, where the other is most likely a consumer of this browser that the
/// broker still counts.
const DEAD_BACK_MAX_BESIDE_OTHERS: Duration = Duration::from_secs(2);

/// What is held of a queue, from its head on.
pub(super) struct Browser {
    session: Session,
    channel: Channel,
    queue: ShortString,
    doing: String,
    /// How many stood there when that was looked at.
    stood: u64,
    /// How many of those were not taken yet.
    left: u64,
    /// How often that is looked at again. Bounded, because some come as fast as they are taken.
    looks_left: u32,
    /// Those that are held, in order, page by page.
    held: Vec<Vec<u64>>,
    acked: u64,
    /// The last one that was taken had come back to a quorum queue before.
    came_back: bool,
    /// Nobody waits for these, and their deliveries are not limited.
    is_dead: bool,
}

/// One message that is held.
pub(super) struct Taken {
    pub(super) tag: u64,
    pub(super) incoming: Incoming,
}

impl Browser {
    /// Stands before the head of `queue`, which the broker calls `name`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such queue.
    pub(super) async fn begin(
        session: &Session,
        queue: &QueueRef,
        name: ShortString,
    ) -> Result<Self> {
        let doing = format!("look into queue {queue}");
        let channel = session.channel().await?;
        let stood =
            session.unless_it_ends(standing(&channel, &name, &doing)).await.flatten()?.ready;
        let held = Vec::new();
        Ok(Self {
            session: session.clone(),
            channel,
            queue: name,
            doing,
            stood,
            left: stood,
            looks_left: 3,
            held,
            acked: 0,
            came_back: false,
            is_dead: matches!(queue, QueueRef::Dead(_)),
        })
    }

    /// Leaves alone what comes from now on.
    pub(super) fn only_what_stands_there(mut self) -> Self {
        self.looks_left = 0;
        self
    }

    /// How many of those that stand there were not taken yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Takes up to `limit` more, at most [`PAGE`]; none: those that stood there were all taken, by this
    /// browser or by others. Not cancel-safe: dropped, the browser is of no use.
    pub(super) async fn page(&mut self, limit: u32) -> Result<Vec<Taken>> {
        let session = self.session.clone();
        session.unless_it_ends(self.next_page(limit)).await.flatten()
    }

    async fn next_page(&mut self, limit: u32) -> Result<Vec<Taken>> {
        self.look_again().await?;
        let wanted = self.left.min(limit.min(PAGE).into());
        let Ok(prefetch @ 1..) = u16::try_from(wanted) else { return Ok(Vec::new()) };
        let failed = |error| failed(self.doing.clone(), error);
        let qos = self.channel.basic_qos(prefetch, BasicQosOptions::default());
        qos.await.map_err(failed)?;
        let consumer = self.channel.basic_consume(
            self.queue.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = consumer.await.map_err(failed)?;
        let taken = self.take(&mut consumer, wanted).await;
        let cancel = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        cancel.await.map_err(failed)?;
        let mut taken = taken?;
        // What had been sent before the broker heard of the end is held too.
        while let Some(delivery) = consumer.next().await {
            taken.push(Taken::of(delivery.map_err(failed)?));
        }
        self.left = self.left.saturating_sub(taken.len() as u64);
        if taken.is_empty() {
            self.left = 0;
            return Ok(taken);
        }
        self.came_back = taken
            .last()
            .is_some_and(|last| last.incoming.deliveries.is_some_and(|count| count > 1));
        self.held.push(taken.iter().map(|taken| taken.tag).collect());
        Ok(taken)
    }

    /// What another had held a moment ago may have come back since the beginning.
    async fn look_again(&mut self) -> Result<()> {
        if self.left == 0 && self.looks_left > 0 {
            self.looks_left -= 1;
            self.left = self.standing().await?.ready;
            self.stood += self.left;
        }
        Ok(())
    }

    async fn take(&self, consumer: &mut Consumer, wanted: u64) -> Result<Vec<Taken>> {
        let mut taken = Vec::new();
        let mut heard = Instant::now();
        while (taken.len() as u64) < wanted {
            match timeout(SILENCE, consumer.next()).await {
                Ok(Some(delivery)) => {
                    let delivery = delivery.map_err(|error| failed(self.doing.clone(), error))?;
                    taken.push(Taken::of(delivery));
                    heard = Instant::now();
                }
                Ok(None) => {
                    return Err(Error::new(ErrorKind::Unavailable, self.doing.clone())
                        .because("the broker ended it: the queue was deleted, or moved"));
                }
                // Others were faster.
                Err(_) if self.standing().await?.ready == 0 => break,
                Err(_) if heard.elapsed() < SILENCE_MAX => {}
                Err(_) => {
                    return Err(Error::new(ErrorKind::Unavailable, self.doing.clone()).because(
                        "messages are there and none is handed out: another consumer has the \
                         queue to itself (single active consumer), or its leader is gone",
                    ));
                }
            }
        }
        Ok(taken)
    }

    /// Those that are held with `tags`, in order, are gone for good when the browser gives the others back.
    pub(super) async fn ack(&mut self, tags: &[u64]) -> Result<()> {
        let Some(last) = tags.last() else { return Ok(()) };
        for page in &mut self.held {
            page.retain(|held| tags.binary_search(held).is_err());
        }
        self.held.retain(|page| !page.is_empty());
        self.acked += tags.len() as u64;
        // Many single acks wait inside the broker, which forgets them with their channel.
        let is_all_before = self.held.iter().flatten().all(|held| held > last);
        let (tags, multiple) = if is_all_before { (&[*last][..], true) } else { (tags, false) };
        for tag in tags {
            let acked = self.channel.basic_ack(*tag, BasicAckOptions { multiple }).await;
            acked.map_err(|error| failed(self.doing.clone(), error))?;
        }
        Ok(())
    }

    /// Gives back all that is held, in its order, and ends the browser. When this returns, they stand
    /// where they stood, unless others have taken them.
    pub(super) async fn give_back(self) -> Result<()> {
        let session = self.session.clone();
        session.unless_it_ends(self.give_all_back()).await.flatten()
    }

    async fn give_all_back(mut self) -> Result<()> {
        self.take_all_that_came_back().await?;
        let failed = |error| failed(self.doing.clone(), error);
        let mut left: usize = self.held.iter().map(Vec::len).sum();
        // One frame is about one page: the broker knows no order among several consumers.
        let frames = self.held.iter().flat_map(|page| page.chunks(TOGETHER));
        let frames: Vec<&[u64]> = frames.collect();
        // The first one comes back alone: then no ack from before is waiting inside the broker.
        let (first, others) = frames.split_at(frames.len().min(1));
        for frames in iter::once(first).chain(others.chunks(FRAMES_MAX)) {
            for tags in frames {
                let Some(last) = tags.last() else { continue };
                let all_before = BasicNackOptions { multiple: true, requeue: true };
                self.channel.basic_nack(*last, all_before).await.map_err(failed)?;
                left -= tags.len();
            }
            if !frames.is_empty() {
                self.until_back(left as u64).await?;
            }
        }
        self.channel.close(200, "looked".into()).await.map_err(failed)
    }

    /// A quorum queue hands out first what came back to it, and puts what comes back behind that. So
    /// who gives back only some of those changes their order: it takes the others, too.
    async fn take_all_that_came_back(&mut self) -> Result<()> {
        let (at_once, mut rounds) = if self.is_dead { (PAGE, 20) } else { (1, 200) };
        while self.came_back && !self.held.is_empty() && rounds > 0 {
            rounds -= 1;
            if self.next_page(at_once).await?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Waits until no more than `left` are held. The broker answers no settlement; that it has taken
    /// place shows in the queue only.
    async fn until_back(&self, left: u64) -> Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let began = Instant::now();
        let expected = self.stood.saturating_sub(self.acked + left);
        loop {
            let Standing { ready, consumers } = self.standing().await?;
            let max = match consumers {
                0 => BACK_MAX,
                _ if self.is_dead => DEAD_BACK_MAX_BESIDE_OTHERS,
                _ => BACK_MAX_BESIDE_OTHERS,
            };
            if ready >= expected || began.elapsed() >= max {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn standing(&self) -> Result<Standing> {
        standing(&self.channel, &self.queue, &self.doing).await
    }
}

impl Taken {
    fn of(delivery: lapin::message::Delivery) -> Self {
        Self { tag: delivery.delivery_tag, incoming: read(delivery) }
    }
}

/// What stands in a queue, and who waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) ready: u64,
    pub(super) consumers: u32,
}

/// What stands in the queue that the broker calls `name`.
///
/// A quorum queue whose leader is slow to answer is said to be empty after 250 ms: that is not
/// believed, and asked again.
///
/// # Errors
/// [`ErrorKind::NotFound`] if there is no such queue; [`ErrorKind::Unavailable`] if its leader does
/// not answer.
pub(super) async fn standing(
    channel: &Channel,
    name: &ShortString,
    doing: &str,
) -> Result<Standing> {
    const TOO_LONG: Duration = Duration::from_millis(200);
    const TRIES_MAX: u32 = 10;
    for _ in 0..TRIES_MAX {
        let asked = Instant::now();
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(name.clone(), passive, FieldTable::default()).await;
        let queue = declared.map_err(|error| {
            if is_missing(&error) {
                let why = format!("there is no queue {name}");
                return Error::new(ErrorKind::NotFound, doing).because(why);
            }
            failed(doing, error)
        })?;
        let standing =
            Standing { ready: queue.message_count().into(), consumers: queue.consumer_count() };
        if standing.ready > 0 || asked.elapsed() < TOO_LONG {
            return Ok(standing);
        }
    }
    let why = "its leader did not say in time how much is in it";
    Err(Error::new(ErrorKind::Unavailable, doing).because(why))
}
