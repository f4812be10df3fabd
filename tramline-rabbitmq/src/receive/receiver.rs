//! Takes messages from one queue, over as many connections as it takes.

use super::complaints::Complaints;
use super::consumption::{Consumption, End, Wish};
use super::delivery::RabbitMqDelivery;
use super::lease::Lease;
use super::order::Order;
use super::pace::Pace;
use crate::declare::QueueKind;
use crate::rabbitmq::Shared;
use crate::wire;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Delivered;
use std::result;
use std::sync::Arc;
use std::time::Instant;
use tramline_core::name::QueueRef;
use tramline_core::transport::{Receiver, Source};
use tramline_core::{BoxFuture, ErrorKind, Result};

/// Takes messages from one queue, or its dead letters.
///
/// It goes on by itself after the connection broke, and after its queue was deleted: what was
/// delivered before is lost then, and comes again if it still exists.
pub struct RabbitMqReceiver {
    shared: Arc<Shared>,
    wish: Wish,
    pace: Pace,
    /// What the next consumer should hold, once this one has ended in order.
    held_next: Option<u16>,
    /// The broker counts deliveries.
    counts: bool,
    consumption: Option<Consumption>,
    /// While there is none.
    opening: Option<BoxFuture<'static, Result<Consumption>>>,
    /// Taken, and the broker is asked for their trials.
    suspects: FuturesUnordered<BoxFuture<'static, RabbitMqDelivery>>,
    complaints: Complaints,
    stopped: bool,
}

impl RabbitMqReceiver {
    /// Begins to consume.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the queue was not declared; [`ErrorKind::Unavailable`] if the
    /// broker cannot be reached now.
    pub(crate) async fn open(shared: Arc<Shared>, source: &Source) -> Result<Self> {
        let pace = Pace::of(source);
        let order = Order::of(source);
        let wish = Wish { queue: source.queue.clone(), prefetch: pace.held(), order };
        let consumption = Consumption::begin(&shared, &wish).await?;
        Ok(Self {
            shared,
            wish,
            pace,
            held_next: None,
            counts: counts(source),
            consumption: Some(consumption),
            opening: None,
            suspects: FuturesUnordered::new(),
            complaints: Complaints::default(),
            stopped: false,
        })
    }

    fn opened(&mut self, delivered: Delivered, lease: Arc<Lease>) -> RabbitMqDelivery {
        let tag = delivered.delivery_tag;
        let incoming = wire::read(delivered);
        self.complaints.log(&self.wish.queue, &incoming.received);
        RabbitMqDelivery::new(incoming, lease, tag, self.counts)
    }

    /// A message with so many bytes is handed out. If another number should be held, the consumer ends,
    /// and another one follows when all that it had was handed out.
    fn keep_pace(&mut self, bytes: usize) {
        let now = Instant::now();
        if let (Some(held), Some(consumption)) =
            (self.pace.hands_out(bytes, now), &mut self.consumption)
        {
            self.held_next = Some(held);
            consumption.cancel_in_order(now);
        }
    }

    /// The consumer has ended as it was asked to.
    fn changes_pace(&mut self) {
        self.consumption = None;
        if let Some(held) = self.held_next.take() {
            tracing::debug!(queue = %self.wish.queue, held, "another prefetch");
            self.pace.changes_to(held);
            self.wish.prefetch = held;
        }
    }

    /// Nothing more comes from this consumer.
    fn retire(&mut self) {
        if let Some(consumption) = self.consumption.take() {
            consumption.retire();
        }
    }

    /// Nobody here asked for the end of the consumer: what it delivered is lost, and there will be
    /// another one.
    fn begins_again(&mut self, why: &str) {
        let Some(consumption) = self.consumption.take() else { return };
        tracing::warn!(queue = %self.wish.queue, why, "the consumer ended: another one begins");
        consumption.lease().lose();
    }
}

/// What happens to a receiver.
enum Step {
    /// The broker has said how often a message was tried.
    Asked(RabbitMqDelivery),
    /// The consumer has something, or has ended.
    Taken(result::Result<Delivered, End>),
    /// There is a consumer again, or there cannot be one.
    Opened(Result<Consumption>),
    /// It was stopped, and is empty.
    Ended,
}

impl RabbitMqReceiver {
    /// What happens next. Cancel-safe.
    async fn step(&mut self) -> Step {
        let Self { suspects, consumption, opening, pace, .. } = self;
        let (shared, wish, stopped) = (&self.shared, &self.wish, self.stopped);
        let others = async {
            match consumption {
                Some(consumption) => Step::Taken(match consumption.at_once() {
                    Some(next) => next,
                    None => {
                        pace.rests();
                        consumption.next().await
                    }
                }),
                None if stopped => Step::Ended,
                None => {
                    let again = || Consumption::begin_again(shared.clone(), wish.clone()).boxed();
                    Step::Opened(opening.get_or_insert_with(again).await)
                }
            }
        };
        if suspects.is_empty() {
            return others.await;
        }
        tokio::select! {
            biased;
            Some(suspect) = suspects.next() => Step::Asked(suspect),
            // In an order, others wait for what is before them.
            step = others, if !wish.order.has_one_consumer() => step,
        }
    }
}

impl Receiver for RabbitMqReceiver {
    type Delivery = RabbitMqDelivery;

    async fn next(&mut self) -> Result<Option<RabbitMqDelivery>> {
        loop {
            match self.step().await {
                Step::Asked(suspect) => {
                    if !suspect.is_lost() {
                        return Ok(Some(suspect));
                    }
                }
                Step::Taken(Ok(delivered)) => {
                    let Some(consumption) = &self.consumption else { continue };
                    let lease = consumption.lease().clone();
                    self.keep_pace(delivered.data.len());
                    let delivery = self.opened(delivered, lease);
                    if !delivery.may_have_been_tried() {
                        return Ok(Some(delivery));
                    }
                    // Who stops does not wait for the answer: the message goes back.
                    if !self.stopped {
                        self.suspects.push(delivery.with_trials().boxed());
                    }
                }
                Step::Taken(Err(End::Cancelled)) => self.changes_pace(),
                Step::Taken(Err(End::Spent)) => self.retire(),
                Step::Taken(Err(End::Gone(why))) => self.begins_again(&why),
                Step::Opened(opened) => {
                    self.opening = None;
                    match opened {
                        Ok(consumption) => self.consumption = Some(consumption),
                        Err(error) if error.kind() == ErrorKind::Closed => return Ok(None),
                        Err(error) => return Err(error),
                    }
                }
                Step::Ended => return Ok(None),
            }
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        self.opening = None;
        // They go back.
        self.suspects.clear();
        if self.wish.order.has_one_consumer() {
            self.retire();
        } else if let Some(consumption) = &mut self.consumption {
            consumption.cancel();
        }
        Ok(())
    }
}

impl Drop for RabbitMqReceiver {
    fn drop(&mut self) {
        if let Some(consumption) = self.consumption.take() {
            consumption.abandon();
        }
    }
}

/// Whether the broker counts how often it delivered a message of `source`: quorum queues do, and
/// dead letters are in one.
fn counts(source: &Source) -> bool {
    match source.queue {
        QueueRef::Main(_) => QueueKind::of(&source.spec) == QueueKind::Quorum,
        QueueRef::Dead(_) => true,
    }
}
