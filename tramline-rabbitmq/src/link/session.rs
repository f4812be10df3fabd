//! The life of one connection, from its first frame to its end.

use super::connect::Connected;
use crate::error;
use futures_util::StreamExt;
use lapin::{Channel, Connection, ErrorKind as Reported, Event};
use parking_lot::Mutex;
use std::net::{Shutdown, TcpStream as Socket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::{Clock, SystemClock, Timestamp};
use tramline_core::{Error, ErrorKind, Result};

/// One connection while it lasts. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Session(Arc<Inner>);

struct Inner {
    number: u64,
    connection: Connection,
    /// Another handle to the socket, until the connection has ended: it would keep that open.
    socket: Mutex<Option<Socket>>,
    frame_bytes_max: u32,
    ended: CancellationToken,
    blocked: watch::Receiver<Option<Blocked>>,
    // What each message looks at, on many threads at once: no lock.
    has_ended: AtomicBool,
    is_blocked: AtomicBool,
}

/// The broker takes nothing for now.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    /// Since when.
    pub(crate) since: Timestamp,
    /// What it says why.
    pub(crate) reason: String,
}

impl Blocked {
    fn now(reason: impl Into<String>) -> Self {
        Self { since: SystemClock.now(), reason: reason.into() }
    }
}

impl Session {
    /// Begins with `connected`; `number` tells it from those before it. Its events are watched by
    /// the future, which ends with the connection and answers why.
    pub(super) fn begin(
        number: u64,
        connected: Connected,
    ) -> (Self, impl Future<Output = Error> + Send + use<>) {
        let (tell, blocked) = watch::channel(None);
        let Connected { connection, socket } = connected;
        let socket = Mutex::new(socket);
        let ended = CancellationToken::new();
        let session = Self(Arc::new(Inner {
            number,
            frame_bytes_max: connection.configuration().frame_max(),
            connection,
            socket,
            ended,
            blocked,
            has_ended: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        }));
        let watched = watch(session.clone(), tell);
        (session, watched)
    }

    /// Which connection of its link this is, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    /// The largest frame that was agreed on, in bytes; 0: no bound.
    pub(crate) fn frame_bytes_max(&self) -> u32 {
        self.0.frame_bytes_max
    }

    /// A channel of one's own. Its last clone closes it.
    ///
    /// The client never gives the number of a channel that the broker has closed to another one: who
    /// draws it is answered with what that one was closed for, and it is not drawn again. So the next
    /// is tried then, and [`watch`] ends the connection before too few are left.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: the connection is gone, or has all the channels that it may have.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        let mut numbers = self.0.connection.configuration().channel_max();
        loop {
            let error = match self.unless_it_ends(self.0.connection.create_channel()).await? {
                Ok(channel) => return Ok(channel),
                Err(error) => error,
            };
            numbers = numbers.saturating_sub(1);
            let is_used_up = numbers == 0 || matches!(error.kind(), Reported::ChannelsLimitReached);
            if is_used_up || !self.0.connection.status().connected() {
                let doing = "open a channel";
                return Err(Error::new(ErrorKind::Unavailable, doing).because(error));
            }
        }
    }

    /// What `asked` ends with. Whoever asks the client in the moment in which the connection ends is not
    /// always answered.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: the connection is gone.
    pub(crate) async fn unless_it_ends<T>(&self, asked: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            answered = asked => Ok(answered),
            () = self.ended() => Err(closed()),
        }
    }

    /// Ends when the connection has. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// Whether the connection has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Acquire)
    }

    /// Whether the broker takes nothing from this connection.
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.is_blocked.load(Ordering::Acquire)
    }

    /// Why, and since when, the broker takes nothing from this connection, if it does not.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        self.0.blocked.borrow().clone()
    }

    /// Waits while the broker takes nothing from this connection. Ends with the connection, too.
    /// Cancel-safe.
    pub(crate) async fn unblocked(&self) {
        if !self.is_blocked() {
            return;
        }
        let mut blocked = self.0.blocked.clone();
        tokio::select! {
            _ = blocked.wait_for(Option::is_none) => {}
            () = self.ended() => {}
        }
    }

    /// Waits until the broker takes nothing from this connection, and answers why. For ever, if the
    /// connection ends before. Cancel-safe.
    pub(crate) async fn until_blocked(&self) -> Blocked {
        let mut blocked = self.0.blocked.clone();
        if let Ok(blocked) = blocked.wait_for(Option::is_some).await
            && let Some(blocked) = &*blocked
        {
            return blocked.clone();
        }
        std::future::pending().await
    }

    /// Takes leave of the broker. Whoever waits for [`ended`](Self::ended) hears of it at once.
    pub(crate) async fn close(&self) {
        self.end();
        let closed = self.0.connection.close(200, "closed".into());
        let is_answered = tokio::select! {
            biased;
            closed = closed => {
                if let Err(error) = closed {
                    tracing::debug!(%error, "the connection had ended before it was closed");
                }
                true
            }
            // The client does not always answer to who closes what ends in the same moment.
            () = self.is_over() => true,
            () = tokio::time::sleep(CLOSE_LIMIT) => false,
        };
        let Some(socket) = self.let_go() else { return };
        if !is_answered {
            tracing::warn!("the broker did not answer to the close of a connection: it is cut off");
            // Else the client waits for ever, with a thread and its buffers. It fails where the other side
            // was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Ends the connection without a word, if it has not ended. The broker gives back what it held.
    pub(super) fn cut_off(&self) {
        self.end();
        if let Some(socket) = self.let_go() {
            // It fails where the other side was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Whoever waits for it hears that the connection has ended.
    fn end(&self) {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.ended.cancel();
    }

    fn let_go(&self) -> Option<Socket> {
        self.0.socket.lock().take()
    }

    async fn is_over(&self) {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let status = self.0.connection.status();
        while !status.closed() && !status.errored() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// How long the broker may take to answer to the close of a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Ends with the connection, which it ends itself when it is worn out.
async fn watch(session: Session, blocked: watch::Sender<Option<Blocked>>) -> Error {
    /// What came to pass before anybody listened is seen within this time.
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    let connection = &session.0.connection;
    let mut events = pin!(connection.events_listener());
    let status = connection.status();
    let tell = |reason: Option<Blocked>| {
        session.0.is_blocked.store(reason.is_some(), Ordering::Release);
        blocked.send_replace(reason);
    };
    let mut closed_channels: u16 = 0;
    let why = loop {
        let event = tokio::select! {
            biased;
            // Whoever closes it lets go of the socket.
            () = session.ended() => return closed(),
            event = events.next() => event,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if !status.connected() { break closed() }
                if status.blocked() != blocked.borrow().is_some() {
                    let reason = status.blocked().then(|| Blocked::now("the broker did not say why"));
                    tell(reason);
                }
                continue;
            }
        };
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                tell(Some(Blocked::now(reason)));
            }
            Some(Event::ConnectionUnblocked) => tell(None),
            // What the broker refuses ends a channel, and is told here as well.
            Some(Event::Error(error)) if status.connected() => {
                closed_channels += 1;
                // Half of the numbers are left for those that are open.
                if closed_channels > connection.configuration().channel_max() / 2 {
                    break worn_out(&session, closed_channels, error).await;
                }
            }
            Some(Event::Error(error)) => break error::failed("stay connected", error),
            Some(_) => {}
            None => break closed(),
        }
    };
    session.end();
    session.let_go();
    why
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "stay connected: the connection was closed")
}

/// Closes a connection on which the broker has closed so many channels that few numbers are left for
/// others.
async fn worn_out(session: &Session, closed_channels: u16, last: lapin::Error) -> Error {
    session.close().await;
    let doing = format!(
        "stay connected: the broker refused {closed_channels} requests, each of which uses a channel up"
    );
    Error::new(ErrorKind::Unavailable, doing).because(last)
}
