//! Takes messages from one queue, over as many connections as it takes.

use super::complained::Complained;
use super::consumption::{Consumption, End, Wish};
use super::delivery::RabbitMqDelivery;
use super::lease::Lease;
use super::order::Order;
use super::pace::Pace;
use crate::declare::QueueKind;
use crate::rabbitmq::Shared;
use crate::wire;
use futures_util::FutureExt;
use lapin::message::Delivery as Delivered;
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
    /// Taken, and the broker is asked for its trials.
    suspect: Option<BoxFuture<'static, RabbitMqDelivery>>,
    complained: Complained,
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
            suspect: None,
            complained: Complained::default(),
            stopped: false,
        })
    }

    fn opened(&mut self, delivered: Delivered, lease: Arc<Lease>) -> RabbitMqDelivery {
        let tag = delivered.delivery_tag;
        let incoming = wire::read(delivered);
        self.complained.of(&self.wish.queue, &incoming.received);
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

impl Receiver for RabbitMqReceiver {
    type Delivery = RabbitMqDelivery;

    async fn next(&mut self) -> Result<Option<RabbitMqDelivery>> {
        loop {
            if let Some(suspect) = &mut self.suspect {
                let suspect = suspect.await;
                self.suspect = None;
                if !suspect.is_lost() {
                    return Ok(Some(suspect));
                }
            }
            if let Some(consumption) = &mut self.consumption {
                let next = match consumption.at_once() {
                    Some(next) => next,
                    None => {
                        self.pace.rests();
                        consumption.next().await
                    }
                };
                match next {
                    Ok(delivered) => {
                        let lease = consumption.lease().clone();
                        self.keep_pace(delivered.data.len());
                        let delivery = self.opened(delivered, lease);
                        if !delivery.may_have_been_tried() {
                            return Ok(Some(delivery));
                        }
                        self.suspect = Some(delivery.with_trials().boxed());
                    }
                    Err(End::Cancelled) => self.changes_pace(),
                    Err(End::Spent) => self.retire(),
                    Err(End::Gone(why)) => self.begins_again(&why),
                }
                continue;
            }
            if self.stopped {
                return Ok(None);
            }
            let opening = self.opening.get_or_insert_with(|| {
                Consumption::begin_again(self.shared.clone(), self.wish.clone()).boxed()
            });
            let opened = opening.await;
            self.opening = None;
            match opened {
                Ok(consumption) => self.consumption = Some(consumption),
                Err(error) if error.kind() == ErrorKind::Closed => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        self.opening = None;
        if self.wish.order.has_one_consumer() {
            self.suspect = None;
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
