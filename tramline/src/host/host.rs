//! The host: start in order, wait, stop in reverse.

use super::error::HostError;
use super::handle::{Board, HostHandle, ServiceState};
use super::hosted::Hosted;
use super::running::Running;
use super::supervise::supervise;
use super::worker::Worker;
use crate::background::BackgroundQueue;
use crate::bus::{Drained, stop_signal};
use crate::caught::caught;
use crate::handler::IntoOutcome;
use crate::{Bus, Failure};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tramline_core::clock::{Clock, Deadline, Entropy, SystemClock, SystemEntropy};
use tramline_core::{Error, ErrorKind};

/// Runs the services of a program: started in the order in which they were added, each when the one before is
/// ready, and stopped in reverse. See the [module](super).
pub struct Host {
    services: Vec<Hosted>,
    limit: Duration,
    start_limit: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    board: Arc<Board>,
    stop: CancellationToken,
}

/// What a host that was stopped has left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "services may have been cut short"]
pub struct HostStopped {
    /// The services that had not ended when the limit was over, and were dropped; and the buses and queues of which
    /// handlers or items were.
    pub cut_short: Vec<String>,
}

/// What a bus needs of the limit to give back what it could not finish.
const RETURNING: Duration = Duration::from_secs(5);
/// What a queue needs of it to cut short what it could not finish.
const CUTTING: Duration = Duration::from_secs(1);

/// What services have that were told to stop only when the limit was over.
const GRACE: Duration = Duration::from_secs(1);

/// Why a host does not wait any longer.
enum Wake {
    Asked,
    Failed(usize, Failure),
    AllEnded,
    Refused(Failure),
}

/// A service that was begun.
struct Begun {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host without services.
    pub fn new() -> Self {
        Self {
            services: Vec::new(),
            limit: Duration::from_secs(30),
            start_limit: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            board: Arc::new(Board::new()),
            stop: CancellationToken::new(),
        }
    }

    /// How long stopping all of it may take; 30 s if not said. What has not ended then is dropped, and what
    /// was not told yet has a second.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How long each service may take to become ready; 60 s if not said. Longer is a failure.
    #[must_use]
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }

    /// Takes the time from `clock`; the machine's own if not said.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Takes chance, which spreads pauses, from `entropy`; the machine's own if not said.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Adds a service that is ready as soon as it was begun, and ends the host if it fails.
    #[must_use]
    pub fn service<F, Fut>(self, name: impl Into<String>, run: F) -> Self
    where
        F: Fn(Running) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.with(Hosted::new(name, run))
    }

    /// Adds a service.
    #[must_use]
    pub fn with(mut self, hosted: Hosted) -> Self {
        self.board.add(hosted.name.clone());
        self.services.push(hosted);
        self
    }

    /// Adds a bus that runs already: it is drained when its turn to stop has come, with what is left of the
    /// [`limit`](Self::limit) but for a quarter, 5 s at most, in which it returns what was not finished. If it
    /// stops by itself, because this program is outdated, it is drained, and the host ends; one that somebody
    /// else drains has ended when that has.
    #[must_use]
    pub fn bus(self, name: impl Into<String>, bus: Bus) -> Self {
        self.service(name, move |running| {
            let bus = bus.clone();
            async move {
                let stopped = tokio::select! {
                    biased;
                    () = running.stopping() => Ok(()),
                    stopped = bus.until_stopping() => stopped,
                };
                if stopped.is_ok() && !running.is_stopping() {
                    tokio::select! {
                        biased;
                        () = running.stopping() => {}
                        () = bus.until_drained() => return Ok(()),
                    }
                }
                let left = running.time_left().unwrap_or(running.limit);
                if bus.drain(left - RETURNING.min(left / 4)).await.or_else(outdated)?
                    == Drained::CutShort
                {
                    tracing::warn!("the limit cut handlers short; their messages come again");
                    running.was_cut_short();
                }
                stopped.map_err(Failure::from)
            }
        })
    }

    /// Adds a queue that was started already: what is at work in it is finished when its turn to stop has come;
    /// what was not begun is counted in the log, and lost with the process.
    #[must_use]
    pub fn queue<T: Send + 'static>(self, queue: BackgroundQueue<T>) -> Self {
        let name = queue.name().to_owned();
        self.service(name, move |running| {
            let queue = queue.clone();
            async move {
                // Whatever becomes of this service, nothing goes on behind it.
                let _cut_short = queue.cuts_short();
                running.stopping().await;
                let left = running.time_left().unwrap_or(running.limit);
                let stopped = queue.stop(left - CUTTING.min(left / 4)).await;
                let (left, cut_short, queue) =
                    (stopped.left.len(), stopped.cut_short, queue.name());
                if left > 0 {
                    tracing::warn!(queue, left, "items were not begun");
                }
                if cut_short > 0 {
                    running.was_cut_short();
                }
            }
        })
    }

    /// Adds a worker.
    #[must_use]
    pub fn worker(self, name: impl Into<String>, worker: Worker) -> Self {
        let name: String = name.into();
        let (worker, told): (_, Arc<str>) = (Arc::new(worker), name.clone().into());
        self.service(name, move |running| {
            let (worker, told) = (worker.clone(), told.clone());
            async move { worker.work(&told, &running).await }
        })
    }

    /// Looks at this host and stops it.
    pub fn handle(&self) -> HostHandle {
        HostHandle { board: self.board.clone(), stop: self.stop.clone() }
    }

    /// Runs all services until SIGTERM or ctrl-c, until [`HostHandle::stop`], until a service fails for good,
    /// or until all have ended; then stops what still runs, in reverse, within the [`limit`](Self::limit).
    ///
    /// Dropped, it drops its services in the middle of their work.
    ///
    /// # Errors
    /// A service has failed for good, was not ready in time, or two have one name; or signals cannot be listened to.
    pub async fn run(self) -> Result<HostStopped, HostError> {
        // Who looks at it knows that it is over, even if this is dropped.
        let _over = self.stop.clone().drop_guard();
        let problem = self.problem();
        let deadline = Arc::new(OnceLock::new());
        let (mut begun, mut asked) = (Vec::new(), std::pin::pin!(self.asked()));
        let woken = match problem {
            Some(problem) => Wake::Refused(Failure::permanent(problem)),
            None => tokio::select! {
                biased;
                woken = &mut asked => woken,
                woken = self.start_and_wait(&mut begun, &deadline) => woken,
            },
        };
        let failed = match woken {
            Wake::Asked | Wake::AllEnded => None,
            Wake::Failed(place, failure) => {
                Some((Some(self.services[place].name.clone()), failure))
            }
            Wake::Refused(failure) => Some((None, failure)),
        };
        // For who looks: nothing is ready any more.
        self.stop.cancel();
        let stopped = self.stop_all(begun, &deadline).await;
        match failed {
            None => Ok(stopped),
            Some((service, failure)) => Err(HostError { service, failure, stopped }),
        }
    }

    fn problem(&self) -> Option<Error> {
        let mut names = HashSet::new();
        let twice = self.services.iter().find(|hosted| !names.insert(&*hosted.name));
        twice.map(|hosted| {
            let doing = format!("add the service `{}`", hosted.name);
            Error::new(ErrorKind::Misconfigured, doing).because("another one has that name")
        })
    }

    /// Ends when somebody asks the host to stop.
    async fn asked(&self) -> Wake {
        let signalled = tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            signalled = stop_signal() => signalled,
        };
        match signalled {
            Ok(()) => Wake::Asked,
            Err(error) => {
                let doing = "listen for SIGTERM and ctrl-c";
                let error = Error::new(ErrorKind::Unavailable, doing).because(error);
                Wake::Refused(Failure::permanent(error))
            }
        }
    }

    /// Cancel-safe: what was begun is in `begun`.
    async fn start_and_wait(
        &self,
        begun: &mut Vec<Begun>,
        deadline: &Arc<OnceLock<Deadline>>,
    ) -> Wake {
        let (fails, mut failed) = mpsc::channel(self.services.len().max(1));
        for (place, hosted) in self.services.iter().enumerate() {
            let stop = CancellationToken::new();
            let running = Running {
                place,
                board: self.board.clone(),
                stop: stop.clone(),
                deadline: deadline.clone(),
                limit: self.limit,
                clock: self.clock.clone(),
                entropy: self.entropy.clone(),
            };
            let (hosted, fails) = (hosted.clone(), fails.clone());
            let task = tokio::spawn(async move {
                // What is supervised is the user's, down to what it drops.
                if let Err(failure) = caught(supervise(hosted, running)).await {
                    // Where nobody listens any more, the host stops already.
                    let _ = fails.send((place, failure)).await;
                }
            });
            begun.push(Begun { stop, task: AbortOnDropHandle::new(task) });
            let is_past_start = |board: &Board| {
                let state = board.state(place);
                matches!(state, Some(ServiceState::Ready | ServiceState::Ended))
            };
            let late = self.clock.now().after(self.start_limit);
            tokio::select! {
                biased;
                Some((place, failure)) = failed.recv() => return Wake::Failed(place, failure),
                () = self.board.until(is_past_start) => {}
                () = self.clock.sleep_until(late) => {
                    let doing = format!("become ready within {:?}", self.start_limit);
                    let error = Error::new(ErrorKind::TimedOut, doing);
                    return Wake::Failed(place, Failure::retryable(error));
                }
            }
        }
        let all_ended = |board: &Board| {
            let count = self.services.len();
            (0..count).all(|place| board.state(place) == Some(ServiceState::Ended))
        };
        tokio::select! {
            biased;
            Some((place, failure)) = failed.recv() => Wake::Failed(place, failure),
            () = self.board.until(all_ended) => Wake::AllEnded,
        }
    }

    /// One after the other while there is time; who is left then, all at once and with hardly any.
    async fn stop_all(&self, begun: Vec<Begun>, deadline: &Arc<OnceLock<Deadline>>) -> HostStopped {
        let limit = deadline.get_or_init(|| Deadline::after(self.clock.now(), self.limit)).0;
        let mut cut = BTreeSet::new();
        let stops: Vec<CancellationToken> = begun.iter().map(|begun| begun.stop.clone()).collect();
        let mut end = limit;
        for (place, Begun { stop, mut task }) in begun.into_iter().enumerate().rev() {
            let service = &*self.services[place].name;
            stop.cancel();
            tokio::select! {
                biased;
                _ended = &mut task => {}
                () = self.clock.sleep_until(end) => {
                    tracing::warn!(service, "had not ended in time, and was dropped");
                    cut.insert(place);
                    self.board.set(place, ServiceState::Ended);
                    // One that never waits ends when it likes.
                    task.abort();
                    stops.iter().for_each(CancellationToken::cancel);
                    end = limit.after(GRACE);
                }
            }
        }
        let is_cut = |place: &usize| cut.contains(place) || self.board.was_cut_short(*place);
        let places = (0..self.services.len()).filter(is_cut);
        HostStopped { cut_short: places.map(|place| self.services[place].name.clone()).collect() }
    }
}

/// A bus that is outdated says so after it was drained as well as before.
fn outdated(error: Error) -> Result<Drained, Error> {
    match error.kind() {
        ErrorKind::Outdated => Ok(Drained::Clean),
        _ => Err(error),
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("services", &self.services).finish_non_exhaustive()
    }
}
