//! What a transport's tests must be able to do beside the contract.

use std::time::Duration;
use tramline_core::name::QueueName;
use tramline_core::transport::Transport;

/// A broker to ask, and the accidents that can befall it.
pub trait TransportHarness: Send + Sync + 'static {
    /// The driver.
    type Transport: Transport;

    /// A broker with nothing in it, shared with no other test.
    fn fresh(&self) -> impl Future<Output = Self::Transport> + Send;

    /// The broker behind `first` as another process sees it: an identity, connections and leases
    /// of its own. What is declared and sent through one is there for the other.
    fn other(&self, first: &Self::Transport) -> impl Future<Output = Self::Transport> + Send;

    /// Makes every lease end that `holder` has on messages of `queue`, as if its process had hung
    /// for too long: others can take these messages from now on, and `holder` must find out.
    ///
    /// `holder`'s receiver on `queue` has been stopped, and its deliveries are still held.
    fn end_leases(
        &self,
        holder: &Self::Transport,
        queue: &QueueName,
    ) -> impl Future<Output = ()> + Send;

    /// Ends the process or broker behind `transport` without closing it, and starts it again.
    /// `None` where nothing is meant to survive that.
    ///
    /// Every receiver and delivery of it is gone already.
    fn restart(
        &self,
        transport: Self::Transport,
    ) -> impl Future<Output = Option<Self::Transport>> + Send;

    /// Whether the broker answers no settlements, so that its figures, and what it does because of
    /// a settlement, may come a moment after [`Settled::Done`](tramline_core::settlement::Settled).
    fn settles_unheard(&self) -> bool {
        false
    }

    /// How long a scenario waits for what must come. It bounds failures only, never a property of
    /// the product; another handle's message must wake an idle consumer within a tenth of it.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}
