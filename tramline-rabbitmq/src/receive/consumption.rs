//! One consumer on one channel.

use super::lease::{Lease, Origin};
use super::order::Order;
use crate::error;
use crate::link::{Session, pause};
use crate::rabbitmq::Shared;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Delivered;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tramline_core::clock::{Clock, Deadline, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline_core::name::QueueRef;
use tramline_core::{Error, ErrorKind, Result};

/// A consumer, with a channel of its own.
pub(super) struct Consumption {
    consumer: Consumer,
    lease: Arc<Lease>,
    prefetch: usize,
    /// What was taken from the consumer and not handed out, for once in an attempt to end.
    ahead: VecDeque<Delivered>,
    /// What comes after that.
    ended: Option<End>,
    ending: Ending,
}

/// How far the end of a consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not meant.
    No,
    /// Wanted as soon as nothing is on its way, if that is before this moment.
    Sought(Instant),
    /// Cancelled.
    Asked,
}

/// Which queue is consumed, and how many of its messages may be unsettled.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) queue: QueueRef,
    pub(super) prefetch: u16,
    pub(super) order: Order,
}

/// Why a consumer has nothing more.
pub(super) enum End {
    /// It was cancelled here, and all that it had was handed out.
    Cancelled,
    /// Something was given back that comes again only when the channel has ended.
    Spent,
    /// The broker ended it, or its channel is gone.
    Gone(String),
}

impl Consumption {
    /// Begins to consume, within the time that connecting may take.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the queue is not there, and whatever else the broker says.
    pub(super) async fn begin(shared: &Arc<Shared>, wish: &Wish) -> Result<Self> {
        let deadline = Deadline::after(SystemClock.now(), shared.options.connect_limit);
        let session = shared.consuming.session(deadline).await?;
        Self::on(&session, shared, wish).await
    }

    /// Begins to consume, however long it takes until the broker is back. What is not there is
    /// declared again. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`], and what trying again does not help against.
    pub(super) async fn begin_again(shared: Arc<Shared>, wish: Wish) -> Result<Self> {
        let mut attempt = 0;
        loop {
            let session = shared.consuming.session(NEVER).await?;
            let mut begun = Self::on(&session, &shared, &wish).await;
            if matches!(&begun, Err(error) if error.kind() == ErrorKind::NotFound) {
                tracing::warn!(queue = %wish.queue, "the queue is gone: declared again");
                let declared = session.unless_it_ends(shared.declare_again(&session)).await;
                begun = match declared.flatten() {
                    Ok(()) => Self::on(&session, &shared, &wish).await,
                    Err(error) => Err(error),
                };
            }
            match begun {
                Ok(begun) => return Ok(begun),
                Err(error) if error.is_transient() || error.kind() == ErrorKind::NotFound => {
                    tracing::warn!(queue = %wish.queue, %error, "cannot consume yet");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause(attempt, SystemEntropy.fraction())).await;
            attempt += 1;
        }
    }

    async fn on(session: &Session, shared: &Arc<Shared>, wish: &Wish) -> Result<Self> {
        tokio::select! {
            biased;
            begun = Self::on_channel(session, shared, wish) => begun,
            () = session.ended() => {
                let doing = format!("consume from queue {}", wish.queue);
                Err(Error::new(ErrorKind::Unavailable, doing).because("the connection was lost"))
            }
        }
    }

    async fn on_channel(session: &Session, shared: &Arc<Shared>, wish: &Wish) -> Result<Self> {
        let name = shared.name_of(&wish.queue)?;
        let doing = || format!("consume from queue {}", name.as_str());
        let channel = session.channel().await?;
        let begun = async {
            channel.basic_qos(wish.prefetch, BasicQosOptions::default()).await?;
            let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(name.clone(), "".into(), options, none).await
        };
        let consumer = begun.await.map_err(|error| error::failed(doing(), error))?;
        let origin =
            Origin { shared: shared.clone(), queue: wish.queue.clone(), order: wish.order };
        let lease = Lease::begin(origin, session.clone(), channel, wish.prefetch);
        shared.leases.add(&lease);
        let prefetch = usize::from(wish.prefetch);
        Ok(Self {
            consumer,
            lease,
            prefetch,
            ahead: VecDeque::new(),
            ended: None,
            ending: Ending::No,
        })
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The next message, if it is here already.
    pub(super) fn at_once(&mut self) -> Option<Result<Delivered, End>> {
        if self.lease.is_lost() {
            return Some(Err(End::lost()));
        }
        if self.lease.is_spent() {
            return Some(Err(End::Spent));
        }
        if let Ending::Sought(until) = self.ending
            && self.ended.is_none()
        {
            self.seek_end(until);
        }
        if let Some(delivered) = self.ahead.pop_front() {
            return Some(Ok(delivered));
        }
        if let Some(end) = self.ended.take() {
            return Some(Err(end));
        }
        self.consumer.next().now_or_never().map(|next| self.or_end(next))
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Delivered, End> {
        loop {
            if let Some(next) = self.at_once() {
                return next;
            }
            self.lease.rests();
            let too_late = async {
                match self.ending {
                    Ending::Sought(until) => tokio::time::sleep_until(until.into()).await,
                    Ending::No | Ending::Asked => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                next = self.consumer.next() => return self.or_end(next),
                () = self.lease.lost() => return Err(End::lost()),
                () = self.lease.spent() => return Err(End::Spent),
                () = too_late => {}
            }
        }
    }

    fn or_end(&self, next: Option<lapin::Result<Delivered>>) -> Result<Delivered, End> {
        match next {
            Some(Ok(delivered)) => Ok(delivered),
            Some(Err(error)) => Err(End::Gone(error.to_string())),
            None if self.ending == Ending::Asked => Err(End::Cancelled),
            None => Err(End::Gone("the broker cancelled it".to_owned())),
        }
    }

    /// Takes nothing more, where one consumer at a time gets messages. Others get theirs when nothing
    /// is at work any more that came from here, and what was not handed out is in its old place.
    pub(super) fn retire(self) {
        self.lease.retire(self.consumer);
    }

    /// Takes nothing more from the broker: `next` still has what is on its way, and then ends.
    pub(super) fn cancel(&mut self) {
        if self.ending != Ending::Asked {
            self.ending = Ending::Asked;
            if let Some(channel) = self.lease.channel() {
                cancel(&channel, &self.consumer);
            }
            self.lease.release();
        }
    }

    /// Cancels once nothing is on its way, if that comes soon.
    ///
    /// What a quorum queue has sent when it hears of the cancel, and the channel has not passed on, goes
    /// back and comes out of order. So the broker hears of no ack until it has sent as many as it may:
    /// then there is nothing that it could send.
    pub(super) fn cancel_in_order(&mut self, now: Instant) {
        const PATIENCE: Duration = Duration::from_millis(20);
        if self.ending == Ending::No {
            self.ending = Ending::Sought(now + PATIENCE);
            self.lease.withhold(now + PATIENCE);
        }
    }

    fn seek_end(&mut self, until: Instant) {
        while let Some(next) = self.consumer.next().now_or_never() {
            match self.or_end(next) {
                Ok(delivered) => self.ahead.push_back(delivered),
                Err(end) => {
                    self.ended = Some(end);
                    break;
                }
            }
        }
        if self.lease.unheard() + self.ahead.len() >= self.prefetch {
            self.cancel();
        } else if Instant::now() >= until {
            self.ending = Ending::No;
            self.lease.release();
        }
    }

    /// Gives back what was not handed out, as far as there is a runtime to do it in.
    pub(super) fn abandon(mut self) {
        if self.lease.origin().order.has_one_consumer() {
            return self.retire();
        }
        self.cancel();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while let Ok(delivered) = self.next().await {
                self.lease.delivered(delivered.delivery_tag);
                self.lease.give_back(delivered.delivery_tag, false);
            }
        });
    }
}

impl End {
    fn lost() -> Self {
        Self::Gone("the connection or the channel was lost".to_owned())
    }
}

/// The frame is handed over at the first poll; the answer ends the consumer's stream.
fn cancel(channel: &Channel, consumer: &Consumer) {
    let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
    if let Some(Err(error)) = cancelled.now_or_never() {
        tracing::debug!(%error, "the channel was gone before the consumer was cancelled");
    }
}

/// Waits until there is a connection.
pub(super) const NEVER: Deadline = Deadline(Timestamp::from_micros(i64::MAX));
