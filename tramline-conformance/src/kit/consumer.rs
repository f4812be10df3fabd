//! A receiver with the patience of its harness.

use super::time::within;
use std::time::Duration;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::transport::{Delivery, Receiver};

/// Takes messages from one queue and panics, with what was expected, when they do not come.
pub(crate) struct Consumer<R> {
    receiver: R,
    queue: String,
    patience: Duration,
}

impl<R: Receiver> Consumer<R> {
    pub(crate) fn new(receiver: R, queue: String, patience: Duration) -> Self {
        Self { receiver, queue, patience }
    }

    /// The next delivery, whichever it is.
    pub(crate) async fn next(&mut self) -> R::Delivery {
        let what = format!("a delivery from {}", self.queue);
        self.next_as(&what).await
    }

    /// The next delivery, which must be that of the message `id`.
    pub(crate) async fn next_is(&mut self, id: &str) -> R::Delivery {
        let what = format!("message {id} from {}", self.queue);
        let delivery = self.next_as(&what).await;
        assert_eq!(id_of(&delivery), id, "the next message from {}", self.queue);
        delivery
    }

    /// The next deliveries, which must be those of `ids`, in this order.
    pub(crate) async fn next_are(&mut self, ids: &[&str]) -> Vec<R::Delivery> {
        let mut deliveries = Vec::with_capacity(ids.len());
        for id in ids {
            deliveries.push(self.next_is(id).await);
        }
        deliveries
    }

    /// As many deliveries as `count`, whichever they are.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<R::Delivery> {
        let mut deliveries = Vec::with_capacity(count);
        for nth in 1..=count {
            let what = format!("delivery {nth} of {count} from {}", self.queue);
            deliveries.push(self.next_as(&what).await);
        }
        deliveries
    }

    /// Takes and acks the messages `ids`, in this order.
    pub(crate) async fn ack_all(&mut self, ids: &[&str]) {
        for id in ids {
            ack(self.next_is(id).await).await;
        }
    }

    /// A delivery, if one comes within `moment`.
    ///
    /// A moment proves little, so this is for what nothing else can show: a consumer that is idle,
    /// or a slot that must stay taken.
    pub(crate) async fn next_within(&mut self, moment: Duration) -> Option<R::Delivery> {
        let next = tokio::time::timeout(moment, self.receiver.next()).await.ok()?;
        Some(self.delivered(next.unwrap_or_else(|error| panic!("{error}"))))
    }

    /// Stops taking, and answers what was prefetched.
    pub(crate) async fn stop(&mut self) -> Vec<R::Delivery> {
        let stopped = within(self.patience, "an answer to `stop`", self.receiver.stop()).await;
        stopped.unwrap_or_else(|error| panic!("expected to stop, got: {error}"));
        let mut rest = Vec::new();
        while let Some(delivery) = self.next_or_end("the rest, or the end, after `stop`").await {
            rest.push(delivery);
        }
        rest
    }

    /// The next delivery; `None` once the receiver is stopped and empty.
    pub(crate) async fn next_or_end(&mut self, what: &str) -> Option<R::Delivery> {
        let next = within(self.patience, what, self.receiver.next()).await;
        next.unwrap_or_else(|error| panic!("expected {what}, got: {error}"))
    }

    /// The next delivery, for whoever has a bound of its own. Cancel-safe.
    pub(crate) async fn next_ever(&mut self) -> R::Delivery {
        let next = self.receiver.next().await;
        self.delivered(next.unwrap_or_else(|error| panic!("expected a delivery, got: {error}")))
    }

    /// The receiver itself.
    pub(crate) fn receiver(&mut self) -> &mut R {
        &mut self.receiver
    }

    async fn next_as(&mut self, what: &str) -> R::Delivery {
        let next = within(self.patience, what, self.receiver.next()).await;
        let next = next.unwrap_or_else(|error| panic!("expected {what}, got: {error}"));
        self.delivered(next)
    }

    fn delivered(&self, next: Option<R::Delivery>) -> R::Delivery {
        next.unwrap_or_else(|| panic!("the receiver on {} ended without `stop`", self.queue))
    }
}

/// The id of a delivered message as text; "no id" without one.
pub(crate) fn id_of(delivery: &impl Delivery) -> String {
    delivery.envelope().id.as_ref().map_or_else(|| "no id".to_owned(), ToString::to_string)
}

/// The ids of several deliveries.
pub(crate) fn ids_of<D: Delivery>(deliveries: &[D]) -> Vec<String> {
    deliveries.iter().map(id_of).collect()
}

/// Acks, which must succeed.
pub(crate) async fn ack(delivery: impl Delivery) {
    settle(delivery, Settlement::Ack).await;
}

/// Settles while the lease is held, which must succeed.
pub(crate) async fn settle(delivery: impl Delivery, how: Settlement) {
    let what = format!("settle {} with {how:?}", id_of(&delivery));
    match delivery.settle(how).await {
        Ok(Settled::Done) => {}
        Ok(Settled::LeaseLost) => panic!("expected to {what}, but the lease was lost"),
        Err(error) => panic!("expected to {what}, got: {error}"),
    }
}
