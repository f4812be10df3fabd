//! Keeps one connection: connects again, with pauses that grow, until it is closed.

use super::backoff::pause;
use super::connect::connect;
use super::session::Session;
use crate::options::RabbitMqOptions;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tramline_core::clock::{Clock, Deadline, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline_core::{BoxFuture, Error, ErrorKind, Result};

/// What is done on a new connection before anybody else gets it.
pub(crate) type Prepare = Arc<dyn Fn(Session) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// How a link is.
#[derive(Clone)]
pub(crate) enum LinkState {
    /// Connected.
    Up(Session),
    /// Without a connection since this moment, and why.
    Down {
        /// Since when.
        since: Timestamp,
        /// What ended the last connection, or the last attempt.
        error: Error,
    },
    /// Closed for good.
    Closed,
}

/// One supervised connection.
pub(crate) struct Link {
    name: String,
    state: watch::Receiver<LinkState>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Link {
    /// Connects, and keeps the connection from then on. The first attempt is the only one: who starts
    /// with a wrong URL is told at once.
    ///
    /// # Errors
    /// Whatever the attempt failed with.
    pub(crate) async fn open(
        options: Arc<RabbitMqOptions>,
        role: &'static str,
        prepare: Prepare,
    ) -> Result<Self> {
        let name = options.address();
        let connected = connect(&options, role).await?;
        let (session, watched) = Session::begin(1, connected);
        let (tell, state) = watch::channel(LinkState::Up(session.clone()));
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        let keeper = Keeper { options, role, prepare, tell, closing: closing.clone() };
        tasks.spawn(keeper.keep(Life { session, watched: Box::pin(watched) }));
        tasks.close();
        Ok(Self { name, state, closing, tasks })
    }

    /// The connection; waits while there is none. Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] at `deadline`, with what the last attempt failed with;
    /// [`ErrorKind::Closed`] once the link was closed.
    pub(crate) async fn session(&self, deadline: Deadline) -> Result<Session> {
        if let LinkState::Up(session) = &*self.state.borrow()
            && !session.has_ended()
        {
            return Ok(session.clone());
        }
        // Boxed, as it is seldom waited for: a send is to be small.
        Box::pin(self.next_session(deadline)).await
    }

    async fn next_session(&self, deadline: Deadline) -> Result<Session> {
        let mut state = self.state.clone();
        let is_settled = |state: &LinkState| match state {
            LinkState::Up(session) => !session.has_ended(),
            LinkState::Down { .. } => false,
            LinkState::Closed => true,
        };
        let settled = tokio::select! {
            biased;
            settled = state.wait_for(is_settled) => settled.ok().map(|state| state.clone()),
            () = SystemClock.sleep_until(deadline.0) => return Err(self.is_down()),
        };
        match settled {
            Some(LinkState::Up(session)) => Ok(session),
            _ => Err(Error::closed(&self.name)),
        }
    }

    /// How the link is now.
    pub(crate) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Which connection this is now, from 1; `None` while there is none.
    pub(crate) fn number(&self) -> Option<u64> {
        match &*self.state.borrow() {
            LinkState::Up(session) if !session.has_ended() => Some(session.number()),
            _ => None,
        }
    }

    /// Closes the connection, or ends the attempts to have one again, by `deadline` at the latest.
    pub(crate) async fn close(&self, deadline: Deadline) {
        self.closing.cancel();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = SystemClock.sleep_until(deadline.0) => {
                tracing::warn!(broker = %self.name, "the broker did not answer to the close in time");
            }
        }
    }

    /// Cuts the connection off, as if it had broken.
    pub(crate) async fn cut(&self) {
        if let LinkState::Up(session) = self.state() {
            session.close().await;
        }
    }

    fn is_down(&self) -> Error {
        let doing = format!("reach {}", self.name);
        match self.state() {
            LinkState::Down { error, .. } => {
                Error::new(ErrorKind::Unavailable, doing).because(error)
            }
            _ => Error::new(ErrorKind::Unavailable, doing).because("it was connecting again"),
        }
    }
}

/// The last handle is gone: so is the connection.
impl Drop for Link {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.name).finish()
    }
}

struct Keeper {
    options: Arc<RabbitMqOptions>,
    role: &'static str,
    prepare: Prepare,
    tell: watch::Sender<LinkState>,
    closing: CancellationToken,
}

/// A connection, and what ends with it.
struct Life {
    session: Session,
    watched: BoxFuture<'static, Error>,
}

impl Keeper {
    /// Has a connection until the link is closed: this one, and after it another.
    async fn keep(self, mut life: Life) {
        let broker = self.options.address();
        for number in 2.. {
            let Some(error) = self.until_its_end(&mut life).await else { break };
            tracing::warn!(%broker, role = self.role, %error, "disconnected");
            let Some(next) = self.again(number, error).await else { break };
            life = next;
            tracing::info!(%broker, role = self.role, "connected again");
            self.tell.send_replace(LinkState::Up(life.session.clone()));
        }
        self.tell.send_replace(LinkState::Closed);
    }

    /// Why the connection ended; `None` when the link is closed, and the connection with it.
    async fn until_its_end(&self, life: &mut Life) -> Option<Error> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {
                life.session.close().await;
                None
            }
            error = &mut life.watched => Some(error),
        }
    }

    /// Tries until there is a connection on which everything is prepared, with pauses that grow; for
    /// ever, because nobody knows better when a broker comes back. `None` when the link is closed.
    async fn again(&self, number: u64, mut error: Error) -> Option<Life> {
        let since = SystemClock.now();
        for attempt in 0.. {
            self.tell.send_replace(LinkState::Down { since, error });
            let pause = pause(attempt, SystemEntropy.fraction());
            let attempted = async {
                tokio::time::sleep(pause).await;
                self.attempt(number).await
            };
            let attempted = tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                attempted = attempted => attempted,
            };
            match attempted {
                Ok(life) => return Some(life),
                Err(failed) => error = failed,
            }
            tracing::debug!(role = self.role, attempt, %error, "could not connect again");
        }
        None
    }

    async fn attempt(&self, number: u64) -> Result<Life> {
        let connected = connect(&self.options, self.role).await?;
        let (session, watched) = Session::begin(number, connected);
        let mut life = Life { session, watched: Box::pin(watched) };
        let prepared = tokio::select! {
            biased;
            error = &mut life.watched => Err(error),
            prepared = (self.prepare)(life.session.clone()) => prepared,
        };
        if prepared.is_err() {
            life.session.close().await;
        }
        prepared.map(|()| life)
    }
}
