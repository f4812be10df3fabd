//! A socket that can be given up.
//!
//! The client keeps the thread and the socket of an attempt that nobody waits for any more, for as long
//! as the other side says nothing. So the socket is ours, and is shut with the attempt.

use parking_lot::Mutex;
use std::io;
use std::net::{Shutdown, TcpStream as Socket};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// One attempt to connect. What it has opened by then is shut when it is dropped, unless it is
/// [kept](Self::keep).
#[derive(Default)]
pub(super) struct Attempt {
    pub(super) calling: Calling,
}

/// The attempt as seen by the client, which works on a thread of its own.
#[derive(Clone, Default)]
pub(super) struct Calling {
    given_up: CancellationToken,
    /// Another handle to the socket.
    socket: Arc<Mutex<Option<Socket>>>,
}

impl Attempt {
    /// It ended by itself: with a connection, of which this is a handle to the socket, or with an error,
    /// after which nothing is left of it.
    pub(super) fn keep(self) -> Option<Socket> {
        self.calling.socket.lock().take()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.calling.given_up.cancel();
        if let Some(socket) = self.calling.socket.lock().take() {
            // It fails where the other side was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Calling {
    /// What `called` ends with.
    ///
    /// # Errors
    /// Its own; [`io::ErrorKind::TimedOut`] once the attempt was given up.
    pub(super) async fn unless_given_up<T>(
        &self,
        called: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        tokio::select! {
            biased;
            () = self.given_up.cancelled() => Err(io::ErrorKind::TimedOut.into()),
            called = called => called,
        }
    }

    /// Shuts `stream` with the attempt.
    ///
    /// # Errors
    /// There are too many open files.
    pub(super) fn remember(&self, stream: &TcpStream) -> io::Result<()> {
        *self.socket.lock() = Some(another_handle(stream)?);
        Ok(())
    }
}

#[cfg(unix)]
fn another_handle(stream: &TcpStream) -> io::Result<Socket> {
    use std::os::fd::AsFd;
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn another_handle(stream: &TcpStream) -> io::Result<Socket> {
    use std::os::windows::io::AsSocket;
    Ok(stream.as_socket().try_clone_to_owned()?.into())
}
