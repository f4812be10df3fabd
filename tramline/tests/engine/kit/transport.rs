//! A memory behind a transport that fails as it is told.

use super::Log;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tramline::Memory;
use tramline::core::capabilities::{Capabilities, FilterSupport, Support};
use tramline::core::clock::Deadline;
use tramline::core::dead::FailureNote;
use tramline::core::envelope::Envelope;
use tramline::core::health::Health;
use tramline::core::name::QueueName;
use tramline::core::operate::Operate;
use tramline::core::settlement::{Marks, Settled, Settlement};
use tramline::core::store::DatabaseId;
use tramline::core::topology::{QueueSpec, Topology};
use tramline::core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Ticket, Transport,
};
use tramline::core::{Error, ErrorKind, Result};
use tramline::memory::{MemoryDelivery, MemoryReceiver, MemorySender};

#[derive(Clone)]
pub(crate) struct Rigged {
    memory: Memory,
    pub(crate) rig: Arc<Rig>,
}

/// What is to go wrong, and what happened.
#[derive(Default)]
pub(crate) struct Rig {
    /// Whole calls of `send`, in order; beyond them everything is accepted.
    pub(crate) answers: Mutex<VecDeque<Answer>>,
    /// So many calls of `next` fail, after which the receiver never answers again.
    pub(crate) broken_receivers: AtomicU32,
    /// So many calls of `receiver` fail.
    pub(crate) refused_receivers: AtomicU32,
    /// So many acks fail, as if the connection was gone.
    pub(crate) failing_acks: AtomicU32,
    /// So many trials are recorded, and the answers are lost.
    pub(crate) unheard_trials: AtomicU32,
    /// It retries by copies.
    pub(crate) copies: AtomicBool,
    /// So many trials are never answered.
    pub(crate) hanging_trials: AtomicU32,
    /// So many trials fail when they are released.
    pub(crate) failing_trials: AtomicU32,
    /// So many acks get lost, and their deliveries with them.
    pub(crate) unheard_acks: AtomicU32,
    /// `next` takes everything that is there at once, and hands it out one by one.
    pub(crate) prefetches: AtomicBool,
    /// `next` ends, although nobody stopped it.
    pub(crate) ends_early: AtomicBool,
    /// `receiver` never answers.
    pub(crate) hangs: AtomicBool,
    /// The longest delay that it says it can do.
    pub(crate) delay_max: Mutex<Option<Duration>>,
    /// How long it says that a delivery may stay unsettled.
    pub(crate) hold_max: Mutex<Option<Duration>>,
    /// So many acks are answered when they are released.
    pub(crate) hanging_acks: AtomicU32,
    /// The ids of what was returned, in order.
    pub(crate) returned: Log,
    /// How it says that it is connected.
    pub(crate) health: Mutex<Health>,
    /// It has exchanges of others, and notes what went where.
    pub(crate) exchanges: Log,
    /// It says that it applies no filters.
    pub(crate) filters_nothing: AtomicBool,
    /// So many returns are carried out when they are released.
    pub(crate) hanging_returns: AtomicU32,
    /// So many returns fail.
    pub(crate) failing_returns: AtomicU32,
    /// Cancelled, everything that is asked of it is refused, because a newer program was here.
    pub(crate) outdated: CancellationToken,
    pub(crate) receivers_made: AtomicU32,
    /// `send` and `settle`, in order.
    pub(crate) log: Log,
    pub(crate) release: Notify,
}

/// What `send` answers for a whole batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Accept,
    Refuse,
    /// It was sent, and the answer is lost.
    Unknown,
    /// Nothing, until it is released; then it is sent.
    Hang,
    /// Sent, and fewer answers than messages.
    TooFew,
    /// The transport is down.
    Unavailable,
    /// The queue is at its maximum length.
    Full,
}

fn counted_down(counter: &AtomicU32) -> bool {
    counter.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Rig {
    /// Notes what goes to an exchange of others; whether it does.
    fn takes(&self, outgoing: &Outgoing) -> bool {
        let is_foreign = matches!(outgoing.to, Destination::Foreign { .. });
        if is_foreign {
            let body = String::from_utf8_lossy(&outgoing.envelope.body).into_owned();
            self.exchanges.add(format!("{} {body}", outgoing.to));
        }
        is_foreign
    }

    fn refuses_the_outdated(&self, doing: &str) -> Result<()> {
        if self.outdated.is_cancelled() { Err(outdated(doing)) } else { Ok(()) }
    }
}

/// What an older program is told.
pub(crate) fn outdated(doing: &str) -> Error {
    Error::new(ErrorKind::Outdated, doing).because("a newer program was here")
}

impl Rigged {
    pub(crate) fn on(memory: Memory) -> Self {
        Self { memory, rig: Arc::default() }
    }
}

impl Transport for Rigged {
    type Sender = RiggedSender;
    type Receiver = RiggedReceiver;

    fn name(&self) -> &'static str {
        "rigged"
    }
    fn capabilities(&self, queue: &QueueSpec) -> Capabilities {
        let mut capabilities = self.memory.capabilities(queue);
        if self.rig.filters_nothing.load(SeqCst) {
            let no = Support::No;
            capabilities.filters =
                FilterSupport { subject: no, headers: no, sql: no, ..FilterSupport::NATIVE };
        }
        if let (Some(delay), Some(max)) = (&mut capabilities.delay, *self.rig.delay_max.lock()) {
            delay.max = Some(max);
        }
        capabilities.hold_max = *self.rig.hold_max.lock();
        if self.rig.copies.load(SeqCst) {
            capabilities.delayed_retry = Support::No;
        }
        capabilities
    }
    fn database(&self) -> Option<DatabaseId> {
        None
    }
    async fn declare(&self, topology: &Topology) -> Result<()> {
        self.memory.declare(topology).await
    }
    async fn sender(&self) -> Result<RiggedSender> {
        Ok(RiggedSender { inner: self.memory.sender().await?, rig: self.rig.clone() })
    }
    async fn receiver(&self, source: &Source) -> Result<RiggedReceiver> {
        if self.rig.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        self.rig.receivers_made.fetch_add(1, SeqCst);
        if counted_down(&self.rig.refused_receivers) {
            return Err(Error::new(ErrorKind::Unavailable, "receive"));
        }
        self.rig.refuses_the_outdated("begin to receive")?;
        let inner = self.memory.receiver(source).await?;
        let buffer = VecDeque::new();
        Ok(RiggedReceiver { inner, rig: self.rig.clone(), buffer, broken: false })
    }
    fn address(&self, queue: &QueueName) -> Option<String> {
        self.memory.address(queue)
    }
    fn health(&self) -> Health {
        self.rig.health.lock().clone()
    }
    fn operate(&self) -> Option<&dyn Operate> {
        self.memory.operate()
    }
    async fn close(&self, deadline: Deadline) -> Result<()> {
        self.memory.close(deadline).await
    }
}

pub(crate) struct RiggedSender {
    inner: MemorySender,
    rig: Arc<Rig>,
}

impl Sender for RiggedSender {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        let answer = self.rig.answers.lock().pop_front().unwrap_or(Answer::Accept);
        self.rig.log.add(format!("send {} {answer:?}", batch.len()));
        if self.rig.outdated.is_cancelled() {
            return batch.iter().map(|_| Sent::Refused(outdated("send"))).collect();
        }
        let came_by_topic = |outgoing: &Outgoing| outgoing.envelope.via.is_some();
        let mut copies = batch.iter().filter(|outgoing| outgoing.copy.is_some());
        assert!(!copies.any(came_by_topic), "a copy goes to the queue and never to the topic");
        let kind = match answer {
            Answer::Accept if batch.iter().all(|outgoing| self.rig.takes(outgoing)) => {
                return batch.iter().map(|_| Sent::Accepted { routed: Some(true) }).collect();
            }
            Answer::Accept => return self.inner.send(batch, deadline).await,
            Answer::TooFew => {
                let mut sent = self.inner.send(batch, deadline).await;
                sent.pop();
                return sent;
            }
            Answer::Hang => {
                self.rig.release.notified().await;
                return self.inner.send(batch, deadline).await;
            }
            Answer::Unknown => {
                let _lost = self.inner.send(batch, deadline).await;
                let lost = |_| Sent::Unknown(Error::new(ErrorKind::TimedOut, "hear an answer"));
                return batch.iter().map(lost).collect();
            }
            Answer::Refuse => ErrorKind::Refused,
            Answer::Unavailable => ErrorKind::Unavailable,
            Answer::Full => ErrorKind::Full,
        };
        batch.iter().map(|_| Sent::Refused(Error::new(kind, "send as told"))).collect()
    }
}

pub(crate) struct RiggedReceiver {
    inner: MemoryReceiver,
    rig: Arc<Rig>,
    buffer: VecDeque<MemoryDelivery>,
    broken: bool,
}

impl Receiver for RiggedReceiver {
    type Delivery = RiggedDelivery;

    async fn next(&mut self) -> Result<Option<RiggedDelivery>> {
        if self.broken {
            std::future::pending::<()>().await;
        }
        if self.buffer.is_empty() && counted_down(&self.rig.broken_receivers) {
            self.broken = true;
            return Err(Error::new(ErrorKind::Unavailable, "hear from the broker"));
        }
        if self.rig.ends_early.swap(false, SeqCst) {
            return Ok(None);
        }
        if self.buffer.is_empty() {
            let first = tokio::select! {
                biased;
                () = self.rig.outdated.cancelled() => return Err(outdated("receive")),
                first = self.inner.next() => first?,
            };
            let Some(first) = first else { return Ok(None) };
            self.buffer.push_back(first);
            while self.rig.prefetches.load(SeqCst)
                && let Some(Ok(Some(more))) =
                    futures_util::FutureExt::now_or_never(self.inner.next())
            {
                self.buffer.push_back(more);
            }
        }
        let inner = self.buffer.pop_front();
        Ok(inner.map(|inner| RiggedDelivery { inner, rig: self.rig.clone() }))
    }
    async fn stop(&mut self) -> Result<()> {
        self.inner.stop().await
    }
}

pub(crate) struct RiggedDelivery {
    inner: MemoryDelivery,
    rig: Arc<Rig>,
}

impl Delivery for RiggedDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        self.inner.envelope()
    }
    fn failures(&self) -> u32 {
        self.inner.failures()
    }
    fn deliveries(&self) -> Option<u32> {
        self.inner.deliveries()
    }
    fn history(&self) -> &[FailureNote] {
        self.inner.history()
    }
    fn marks(&self) -> Marks {
        self.inner.marks()
    }
    fn ticket(&self) -> Option<Ticket> {
        None
    }
    async fn mark_trial(&mut self) -> Result<()> {
        self.rig.refuses_the_outdated("mark a trial")?;
        if counted_down(&self.rig.hanging_trials) {
            std::future::pending::<()>().await;
        }
        if counted_down(&self.rig.failing_trials) {
            self.rig.release.notified().await;
            return Err(Error::new(ErrorKind::Unavailable, "record a trial"));
        }
        self.inner.mark_trial().await?;
        if counted_down(&self.rig.unheard_trials) {
            return Err(Error::new(ErrorKind::TimedOut, "hear whether a trial was recorded"));
        }
        Ok(())
    }
    async fn lost(&self) {
        self.inner.lost().await;
    }
    async fn settle(self, how: Settlement) -> Result<Settled> {
        let word = match &how {
            Settlement::Ack => "ack",
            Settlement::Return => "return",
            Settlement::Retry { .. } => "retry",
            Settlement::DeadLetter { .. } => "dead-letter",
        };
        if word == "ack" && counted_down(&self.rig.hanging_acks) {
            self.rig.release.notified().await;
        }
        if word == "ack" && counted_down(&self.rig.failing_acks) {
            self.rig.log.add("ack fails");
            return Err(Error::new(ErrorKind::Unavailable, "ack"));
        }
        if word == "ack" && counted_down(&self.rig.unheard_acks) {
            // As if the process was cut off: nobody else gets it before the lease ends.
            std::mem::forget(self.inner);
            return Err(Error::new(ErrorKind::Unavailable, "ack"));
        }
        if word == "return" && counted_down(&self.rig.hanging_returns) {
            self.rig.release.notified().await;
        }
        if word == "return" && counted_down(&self.rig.failing_returns) {
            // As if the connection was gone: nobody else gets it before the lease ends.
            std::mem::forget(self.inner);
            return Err(Error::new(ErrorKind::Unavailable, "return"));
        }
        if word == "return" {
            self.rig.returned.add(self.inner.envelope().id.as_ref().unwrap().to_string());
        }
        self.rig.log.add(word);
        self.rig.refuses_the_outdated(word)?;
        self.inner.settle(how).await
    }
    fn settled_by_store(self) {
        self.inner.settled_by_store();
    }
}
