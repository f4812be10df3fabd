//! One consumer on one channel.

use super::lease::{Lease, Origin};
use crate::error;
use crate::link::{Session, pause};
use crate::rabbitmq::Shared;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Delivered;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use std::sync::Arc;
use tramline_core::clock::{Clock, Deadline, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline_core::name::QueueRef;
use tramline_core::{Error, ErrorKind, Result};

/// A consumer, with a channel of its own.
pub(super) struct Consumption {
    consumer: Consumer,
    lease: Arc<Lease>,
}

/// Which queue is consumed, and how many of its messages may be unsettled.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) queue: QueueRef,
    pub(super) prefetch: u16,
}

/// Why a consumer has nothing more.
pub(super) enum End {
    /// It was cancelled, by either side, and all that it had was handed out.
    Cancelled,
    /// Its channel is gone, and so is what it had.
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
                begun = match shared.declare_again(&session).await {
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
        let origin = Origin { shared: shared.clone(), queue: wish.queue.clone() };
        let lease = Lease::begin(origin, session.clone(), channel, wish.prefetch);
        shared.leases.add(&lease);
        Ok(Self { consumer, lease })
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Delivered, End> {
        if self.lease.is_lost() {
            return Err(End::lost());
        }
        let item = match self.consumer.next().now_or_never() {
            Some(item) => item,
            None => {
                self.lease.rests();
                tokio::select! {
                    biased;
                    item = self.consumer.next() => item,
                    () = self.lease.lost() => return Err(End::lost()),
                }
            }
        };
        match item {
            Some(Ok(delivered)) => Ok(delivered),
            Some(Err(error)) => Err(End::Gone(error.to_string())),
            None => Err(End::Cancelled),
        }
    }

    /// Takes nothing more from the broker: `next` still has what is on its way, and then ends.
    pub(super) fn cancel(&self) {
        if let Some(channel) = self.lease.channel() {
            cancel(&channel, &self.consumer);
        }
    }

    /// Gives back what was not handed out, as far as there is a runtime to do it in.
    pub(super) fn abandon(mut self) {
        self.cancel();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while let Ok(delivered) = self.next().await {
                self.lease.delivered(delivered.delivery_tag);
                self.lease.give_back(delivered.delivery_tag);
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
