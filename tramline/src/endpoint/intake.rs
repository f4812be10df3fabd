//! What an endpoint receives, each message at its turn.

use crate::endpoint::lanes::Lanes;
use crate::endpoint::placed::Placed;
use crate::endpoint::settle::return_all;
use crate::stopping::Stopping;
use std::sync::Arc;
use tramline_core::name::QueueRef;
use tramline_core::transport::Receiver;
use tramline_core::{Error, ErrorKind, Result};

/// A receiver behind the lanes of its endpoint; without lanes it is the receiver itself.
pub(crate) struct Intake<R: Receiver> {
    pub(crate) receiver: R,
    pub(crate) lanes: Option<Arc<Lanes<R::Delivery>>>,
    pub(crate) queue: QueueRef,
    pub(crate) stopping: Stopping,
    /// A lane was broken: nothing more is handed out.
    pub(crate) is_ending: bool,
}

impl<R: Receiver> Receiver for Intake<R> {
    type Delivery = Placed<R::Delivery>;

    /// Fails when a lane is broken: only a new receiver is sure to begin with what has to come
    /// again, because this one may have fetched ahead of it. Then it is to be [ended](Self::end).
    async fn next(&mut self) -> Result<Option<Self::Delivery>> {
        let Some(lanes) = self.lanes.clone() else {
            return Ok(self.receiver.next().await?.map(Placed::free));
        };
        loop {
            if self.is_ending || lanes.is_broken() {
                // Whoever waits for this may turn to something else: so nothing is given back here.
                self.is_ending = true;
                return Err(self.is_broken());
            }
            if let Some(ready) = lanes.next_ready() {
                return Ok(Some(ready));
            }
            let next = tokio::select! {
                biased;
                () = lanes.changed() => continue,
                next = self.receiver.next() => next?,
            };
            let Some(delivery) = next else { return Ok(None) };
            if let Some(first) = lanes.join(delivery) {
                return Ok(Some(first));
            }
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.receiver.stop().await
    }
}

impl<R: Receiver> Intake<R> {
    /// Takes nothing more and returns what was prefetched, untouched; what is behind a delivery at
    /// work joins its lane. One that cannot be returned comes back when its lease ends, and keeps
    /// no other from it.
    pub(crate) async fn give_back(&mut self) -> Result<()> {
        self.receiver.stop().await?;
        let mut prefetched = Vec::new();
        let ended = loop {
            match self.receiver.next().await {
                Ok(Some(delivery)) => prefetched.extend(self.place(delivery)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // There are no more than the prefetch.
        return_all(prefetched, &self.stopping).await;
        ended
    }

    /// After a lane was broken: gives back what waits in broken lanes, and what was fetched ahead. Answers why it
    /// has failed in truth; `error` if it is that. To be awaited to its end.
    pub(crate) async fn end(&mut self, error: Error) -> Error {
        let Some(lanes) = self.lanes.clone().filter(|_| self.is_ending) else { return error };
        lanes.give_back_broken().await;
        let given_back = self.give_back().await;
        // To return the first of a key breaks its lane, too.
        lanes.give_back_broken().await;
        given_back.err().unwrap_or(error)
    }

    fn is_broken(&self) -> Error {
        let doing = format!("keep the order of {}", self.queue);
        let why = "a message ended unsettled, so what waited behind it was given back";
        Error::new(ErrorKind::Unavailable, doing).because(why)
    }

    fn place(&self, delivery: R::Delivery) -> Option<Placed<R::Delivery>> {
        match &self.lanes {
            Some(lanes) => lanes.join(delivery),
            None => Some(Placed::free(delivery)),
        }
    }
}
