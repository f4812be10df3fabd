//! What an endpoint takes, no faster than it may.

use crate::endpoint::intake::Intake;
use crate::endpoint::placed::Placed;
use crate::endpoint::rate::Pace;
use crate::endpoint::settle::return_all;
use crate::endpoint::waiting::WaitingRoom;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::clock::Clock;
use tramline_core::transport::Receiver;

/// An intake behind the rate of its endpoint and the limits for each key; without any it is the intake itself.
pub(crate) struct Metered<R: Receiver> {
    pub(crate) intake: Intake<R>,
    pub(crate) pace: Option<Arc<EndpointPace>>,
    pub(crate) waiting: Option<WaitingRoom<R::Delivery>>,
}

/// The rate of an endpoint. It outlives its receivers.
pub(crate) struct EndpointPace {
    pub(crate) pace: Pace,
    pub(crate) clock: Arc<dyn Clock>,
    /// All messages are of one key.
    pub(crate) all: Arc<str>,
}

impl EndpointPace {
    /// Ends when one more message may be taken. Cancel-safe; that changes nothing.
    pub(crate) async fn wait(&self) {
        while let Err(then) = self.pace.look(&self.all) {
            self.clock.sleep_at_most_until(then).await;
        }
    }
}

impl<R: Receiver> Receiver for Metered<R> {
    type Delivery = Placed<R::Delivery>;

    async fn next(&mut self) -> Result<Option<Self::Delivery>> {
        self.paced().await;
        let next = self.next_of_key().await?;
        if let (Some(_), Some(pace)) = (&next, &self.pace) {
            // Nobody else takes, so it is as free as it was.
            let _ = pace.pace.take(&pace.all);
        }
        Ok(next)
    }

    async fn stop(&mut self) -> Result<()> {
        self.intake.stop().await
    }
}

impl<R: Receiver> Metered<R> {
    /// Ends when the rate of the endpoint lets one more be taken. Cancel-safe.
    pub(crate) async fn paced(&mut self) {
        if let Some(pace) = &self.pace {
            pace.wait().await;
        }
    }

    /// The next one that its key lets go.
    async fn next_of_key(&mut self) -> Result<Option<Placed<R::Delivery>>> {
        let Some(waiting) = &mut self.waiting else { return self.intake.next().await };
        loop {
            if let Some(ready) = waiting.next_ready() {
                return Ok(Some(ready));
            }
            let next = tokio::select! {
                biased;
                () = waiting.changed() => continue,
                next = self.intake.next() => next?,
            };
            let Some(delivery) = next else { return Ok(None) };
            if let Some(free) = waiting.enter(delivery) {
                return Ok(Some(free));
            }
        }
    }

    /// As [`Intake::give_back`]; before it, who waits for the turn of a key. Who has a place in a lane waits there.
    pub(crate) async fn give_back(&mut self) -> Result<()> {
        let waiting = self.waiting.as_mut().map(WaitingRoom::empty).unwrap_or_default();
        return_all(waiting, &self.intake.stopping).await;
        self.intake.give_back().await
    }
}
