//! A running bus: publish, send, operate, stop.

use crate::at_work::AtWork;
use crate::dead_letters::DeadLetters;
use crate::events::Core;
use crate::relay::Unsent;
use crate::request::Replies;
use crate::stopping::Stopping;
use crate::unrouted::Unrouted;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tramline_core::clock::Deadline;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::erased::{DynSender, DynStore, DynTransport};
use tramline_core::health::Health;
use tramline_core::name::QueueName;
use tramline_core::operate::Operate;
use tramline_core::store::{DatabaseId, Store};
use tramline_core::{Error, ErrorKind, Result};

/// A running bus. Clones are the same bus.
///
/// Dropping it stops nothing; [`Bus::drain`] does, and [`Bus::run`] on SIGTERM or ctrl-c.
#[derive(Clone)]
pub struct Bus(Arc<Running>);

/// What a bus is made of while it runs.
pub(crate) struct Running {
    pub(crate) composer: Arc<Composer>,
    /// What is published outside of handlers is made in it.
    pub(crate) scope: Scope,
    pub(crate) transport: Arc<dyn DynTransport>,
    pub(crate) sender: Arc<dyn DynSender>,
    pub(crate) send_limit: Duration,
    /// The databases whose outboxes this bus relays.
    pub(crate) relayed: Vec<DatabaseId>,
    /// The store that keeps the schedules.
    pub(crate) schedules: Option<Arc<dyn DynStore>>,
    pub(crate) unrouted: Arc<Unrouted>,
    pub(crate) stopping: Stopping,
    pub(crate) killed: CancellationToken,
    /// Handlers at work, so that one can be cancelled.
    pub(crate) handlers: AtWork,
    /// Receivers and relays.
    pub(crate) loops: TaskTracker,
    /// Messages at work.
    pub(crate) at_work: TaskTracker,
    /// The domain events, until the bus is drained. They hold the bus in turn, as a state of their
    /// handlers.
    pub(crate) events: Mutex<Option<Arc<Core>>>,
    /// Where the replies to its requests come to.
    pub(crate) replies: Replies,
}

/// What a drain has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "work may have been cut short"]
pub enum Drained {
    /// Everything that was at work was finished.
    Clean,
    /// The limit was over: what still ran was dropped and its messages returned.
    CutShort,
}

impl Bus {
    pub(crate) fn running(running: Running) -> Self {
        Self(Arc::new(running))
    }

    /// What callers outside of handlers write to `store` with: their rows and the events that they
    /// publish are one transaction.
    ///
    /// A store on another database than the transport must be given to the bus by
    /// [`crate::BusBuilder::store`], here or in another process on that database: else no relay sends what is
    /// published.
    pub fn store<S: Store>(&self, store: &S) -> S::Writer {
        let database = store.database();
        let publishing = publishing(&*self.0.transport, &database);
        self.warn_of_missing_relay(publishing, &database);
        let scope = Scope::outside(self.0.composer.clone(), publishing);
        let stopping = self.0.stopping.clone();
        store.writer(scope.heard_by(move |failure| {
            stopping.heed_failure(failure);
        }))
    }

    pub(crate) fn warn_of_missing_relay(&self, publishing: Publishing, database: &DatabaseId) {
        if publishing == Publishing::Outbox && !self.0.relayed.contains(database) {
            tracing::warn!(%database, "this bus relays nothing that is published there: register \
                the store by `.store(…)`, unless another process does");
        }
    }

    /// What is published in transactions of `store` and not sent yet, and what was refused too often
    /// to be tried again. Where store and transport are one database, only what others have put there, as
    /// programs in SQL do.
    pub fn unsent<'a, S: Store>(&self, store: &'a S) -> Unsent<'a> {
        Unsent::of(store.outbox(), self.0.stopping.clone())
    }

    /// The transport's name, such as `sqlite`.
    pub fn transport(&self) -> &'static str {
        self.0.transport.name_dyn()
    }

    /// How the transport is connected at this moment, for health checks. Answers at once.
    pub fn health(&self) -> Health {
        self.0.transport.health_dyn()
    }

    /// What operators can see and do.
    ///
    /// # Errors
    /// The transport offers nothing.
    pub fn operate(&self) -> Result<&dyn Operate> {
        let name = self.transport();
        self.0.transport.operate_dyn().ok_or_else(|| Error::unsupported("operations", name))
    }

    /// The dead letters of `queue`.
    ///
    /// # Errors
    /// The name is not allowed.
    pub fn dead_letters(&self, queue: &str) -> Result<DeadLetters> {
        let name = QueueName::new(queue).map_err(|bad| {
            Error::new(ErrorKind::Misconfigured, "look at dead letters").because(bad)
        })?;
        Ok(self.dead_letters_of(name))
    }

    /// As [`dead_letters`](Self::dead_letters), of a queue that others may have named.
    pub fn dead_letters_of(&self, queue: QueueName) -> DeadLetters {
        DeadLetters::of(self.0.transport.clone(), queue, self.0.stopping.clone())
    }

    /// Whether the bus stops: it was told to, or this program is outdated.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.has_begun()
    }

    /// Ends when the bus begins to stop: `Ok` if it was told to. For applications that do not
    /// [`run`](Self::run) the bus and must not outlive it; what is at work then is finished by
    /// [`Bus::drain`]. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Outdated`]: the bus stops by itself, because a newer program has changed what
    /// this one works on. It takes nothing more, publishes nothing more, and says so once in the
    /// log. A bus that has nothing to do notices that when it has; it does not see what is answered
    /// to calls of [`Bus::operate`] and of the application's own handles on a store.
    pub async fn until_stopping(&self) -> Result<()> {
        self.0.stopping.begun().await;
        self.0.stopping.why().map_or(Ok(()), |outdated| Err(outdated.clone()))
    }

    /// Ends when somebody has drained the bus. Cancel-safe.
    pub(crate) async fn until_drained(&self) {
        self.0.killed.cancelled().await;
    }

    /// Stops gracefully: takes nothing new, finishes what runs within `limit`, settles it, returns
    /// the rest to its queues, and closes the transport. A second call waits for the same end.
    ///
    /// What runs has no longer than `limit`. To return what was taken and to close may then take up to
    /// five seconds more: leave that much between `limit` and the moment in which the process is killed.
    ///
    /// # Errors
    /// [`ErrorKind::Outdated`]: the bus had stopped by itself, see [`Bus::until_stopping`]. Else the
    /// transport could not be closed cleanly. Nothing is lost, unsettled messages come back.
    pub async fn drain(&self, limit: Duration) -> Result<Drained> {
        let running = &*self.0;
        let clock = &running.composer.clock;
        let deadline = Deadline::after(clock.now(), limit);
        running.stopping.begin();
        running.loops.close();
        let finished = async {
            running.loops.wait().await;
            running.at_work.close();
            running.at_work.wait().await;
        };
        tokio::pin!(finished);
        let drained = tokio::select! {
            biased;
            () = &mut finished => Drained::Clean,
            () = clock.sleep_until(deadline.0) => Drained::CutShort,
        };
        running.killed.cancel();
        let grace = Deadline::after(clock.now(), GRACE);
        if drained == Drained::CutShort {
            tokio::select! {
                biased;
                () = finished => {}
                () = clock.sleep_until(grace.0) => {
                    tracing::warn!("some messages could not be returned in time; they come back \
                        when their leases end");
                }
            }
        }
        *running.events.lock() = None;
        let closed = running.transport.close_dyn(grace).await;
        // Where that is why, a transport that could not be closed says nothing new.
        running.stopping.why().map_or(closed, |outdated| Err(outdated.clone()))?;
        Ok(drained)
    }

    /// Runs until SIGTERM, ctrl-c, a [`Bus::drain`] elsewhere or a stop by itself, then drains
    /// within `limit`.
    ///
    /// # Errors
    /// As [`Bus::drain`]; or the signals cannot be listened to.
    pub async fn run(&self, limit: Duration) -> Result<Drained> {
        let signalled = tokio::select! {
            signalled = stop_signal() => signalled,
            () = self.0.stopping.begun() => Ok(()),
        };
        signalled.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "listen for SIGTERM and ctrl-c").because(error)
        })?;
        tracing::info!("stopping");
        self.drain(limit).await
    }

    pub(crate) fn inner(&self) -> &Running {
        &self.0
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.0.scope
    }

    pub(crate) fn sender(&self) -> &dyn DynSender {
        &*self.0.sender
    }

    /// Why nothing is sent any more. Publishing goes on while handlers finish, and ends with the
    /// drain; an outdated program has nothing to say at once.
    pub(crate) fn closed(&self) -> Option<Error> {
        let drained = || self.0.killed.is_cancelled().then(|| Error::closed("the bus"));
        self.0.stopping.why().cloned().or_else(drained)
    }

    pub(crate) fn send_deadline(&self) -> Deadline {
        Deadline::after(self.0.composer.clock.now(), self.0.send_limit)
    }
}

/// What returning and closing may take when the limit is over.
const GRACE: Duration = Duration::from_secs(5);

/// Rows of queues where store and transport are one database, else rows of the outbox.
pub(crate) fn publishing(
    transport: &dyn DynTransport,
    database: &tramline_core::store::DatabaseId,
) -> Publishing {
    if transport.database_dyn().as_ref() == Some(database) {
        Publishing::Queues
    } else {
        Publishing::Outbox
    }
}

/// Ends at SIGTERM or ctrl-c.
#[cfg(unix)]
pub(crate) async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

#[cfg(not(unix))]
pub(crate) async fn stop_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bus({})", self.transport())
    }
}
