//! Work that is done again and again.

use super::running::Running;
use super::schedule::{Overrun, Schedule};
use crate::background::{Ended, run};
use crate::handler::IntoOutcome;
use crate::pipeline::Outcome;
use crate::{BoxFuture, Cancel, Failure, Retry};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::{Clock, Entropy, Timestamp};
use tramline_core::{Error, ErrorKind, Result};

/// Work that is done again and again while its [`Host`](super::Host) runs, one run at a time. A run that fails
/// or panics is logged, and ends nothing. When the host stops, a run that is under way is finished within its limit.
pub struct Worker {
    plan: WorkerBuilder,
    run: Box<dyn Fn(Cancel) -> BoxFuture<'static, Outcome> + Send + Sync>,
}

/// A worker to be made: when it runs.
#[derive(Clone, Debug)]
#[must_use = "a worker needs something to run"]
pub struct WorkerBuilder {
    timing: Timing,
    at_once: bool,
    jitter: Duration,
    overrun: Overrun,
    backoff: Retry,
    time_limit: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Timing {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron(crate::cron::Cron),
}

impl Worker {
    /// Runs each `interval`, counted from its start: for the first time when one is over, or
    /// [at once](WorkerBuilder::at_once).
    pub fn every(interval: Duration) -> WorkerBuilder {
        WorkerBuilder::of(Timing::Every(interval))
    }

    /// Runs at the moments of a cron expression by the clocks of a time zone of the IANA database, such as
    /// `0 3 * * *` in `Europe/Berlin`: minute, hour, day, month, day of the week, and before them seconds, if
    /// there are six. Feature `cron`.
    ///
    /// On days on which clocks are set it does as Vixie cron does. Where all minutes and hours are named,
    /// alone, in lists or in ranges, it is about the time on the clock: times that are left out come once,
    /// directly behind the gap, and times that come twice count the first time. With a `*` among them it is
    /// about time that passes, and goes on in it.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: the expression or the zone is wrong, or no such moment ever comes.
    #[cfg(feature = "cron")]
    pub fn cron(expression: &str, zone: &str) -> Result<WorkerBuilder> {
        let now = tramline_core::clock::SystemClock.now();
        let cron = crate::cron::Cron::parse(expression, zone, now)?;
        Ok(WorkerBuilder::of(Timing::Cron(cron)))
    }

    /// Works until the host stops, or until there is no further moment to run at.
    pub(super) async fn work(&self, name: &str, running: &Running) {
        let plan = &self.plan;
        let (clock, entropy) = (&*running.clock, &*running.entropy);
        let start = clock.now();
        let mut schedule = plan.timing.schedule(start);
        let mut next = if plan.at_once { Some(start) } else { schedule.after(start) };
        let (mut failures, mut not_before) = (0u32, start);
        while let Some(planned) = next {
            let due = planned.max(not_before).after(plan.jitter.mul_f64(entropy.fraction()));
            tokio::select! {
                biased;
                () = running.stopping() => return,
                () = clock.sleep_until(due) => {}
            }
            let began = clock.now();
            let is_done = self.run(name, clock).await;
            let ended = clock.now();
            failures = if is_done { 0 } else { failures.saturating_add(1) };
            not_before = if is_done { ended } else { ended.after(plan.pause(failures, entropy)) };
            next = schedule.next(planned, began, ended, plan.overrun);
            // Runs that never wait must not keep a thread from everything else.
            consume_budget().await;
        }
    }

    /// Runs once. Answers whether it went well.
    async fn run(&self, name: &str, clock: &dyn Clock) -> bool {
        let work = |(): (), cancel: Cancel| (self.run)(cancel);
        // The host drops the whole worker when its limit is over.
        let never = CancellationToken::new();
        let ended = run(&work, (), self.plan.time_limit, clock, &never).await;
        let is_done = matches!(ended, Ended::Done);
        ended.tell(name);
        is_done
    }
}

impl WorkerBuilder {
    fn of(timing: Timing) -> Self {
        let backoff = Retry::exponential(Duration::from_secs(1)).max(Duration::from_secs(60));
        Self {
            timing,
            at_once: false,
            jitter: Duration::ZERO,
            overrun: Overrun::default(),
            backoff,
            time_limit: None,
        }
    }

    /// The first run is as soon as the worker starts.
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// Each run is later by anything up to this, so that many instances do not run at the same moment.
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// What becomes of the moments that pass while a run is still under way; left out if not said.
    pub fn overrun(mut self, overrun: Overrun) -> Self {
        self.overrun = overrun;
        self
    }

    /// The least pause after so many failures in a row; from 1 s doubled to at most a minute if not said. The
    /// policy's number of runs does not count: a worker never gives up.
    pub fn backoff(mut self, backoff: Retry) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one run may take; as long as it likes if not said. One that is over it is dropped at its next
    /// `.await`, and has failed.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// The worker that runs this each time.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: an interval or a time limit of nothing.
    pub fn run<F, Fut>(self, run: F) -> Result<Worker>
    where
        F: Fn(Cancel) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.checked()?;
        let run = move |cancel| -> BoxFuture<'static, Outcome> {
            let ran = run(cancel);
            Box::pin(async move { ran.await.into_outcome() })
        };
        Ok(Worker { plan: self, run: Box::new(run) })
    }

    /// The worker that makes a scope for each run, such as a connection, and runs this with it; the scope is
    /// dropped with the run. A scope that cannot be made is a failure of the run.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tramline::{Cancel, Failure, host::Worker};
    /// struct Connection;
    ///
    /// async fn connect() -> Result<Connection, Failure> {
    ///     Ok(Connection)
    /// }
    ///
    /// async fn clean_up(_connection: Connection, _cancel: Cancel) -> Result<(), Failure> {
    ///     Ok(())
    /// }
    /// let worker = Worker::every(Duration::from_secs(3600)).run_in(connect, clean_up);
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_in<S, M, Made, E, F, Fut>(self, make: M, run: F) -> Result<Worker>
    where
        S: Send + 'static,
        M: Fn() -> Made + Send + Sync + 'static,
        Made: Future<Output = Result<S, E>> + Send + 'static,
        E: Into<Failure>,
        F: Fn(S, Cancel) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let run = Arc::new(run);
        self.run(move |cancel| {
            let (made, run) = (make(), run.clone());
            async move {
                let scope = made.await.map_err(Into::into)?;
                run(scope, cancel).await.into_outcome()
            }
        })
    }

    fn checked(&self) -> Result<()> {
        let wrong = |why: &str| {
            let doing = "make a worker";
            Err(Error::new(ErrorKind::Misconfigured, doing).because(why.to_owned()))
        };
        match self.timing {
            Timing::Every(interval) if interval < Duration::from_micros(1) => {
                return wrong("with an interval of 0 it would never rest");
            }
            _ => {}
        }
        match self.time_limit {
            Some(limit) if limit.is_zero() => wrong("a time limit of 0 lets nothing finish"),
            _ => Ok(()),
        }
    }

    fn pause(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        let endless = self.backoff.clone().runs(u32::MAX);
        let pause = endless.pause(failures, entropy.fraction());
        // A list that has come to its end.
        pause.unwrap_or_else(|| self.backoff.pause_max())
    }
}

impl Timing {
    fn schedule(&self, began: Timestamp) -> Schedule {
        match self {
            Self::Every(interval) => {
                Schedule::Every { anchor: began.after(*interval), interval: *interval }
            }
            #[cfg(feature = "cron")]
            Self::Cron(cron) => Schedule::Cron(cron.clone()),
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.plan).finish()
    }
}
