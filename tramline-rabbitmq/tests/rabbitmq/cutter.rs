//! Stands between the driver and the broker, and cuts them apart at a chosen word.

use crate::kit::Vhost;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Passes on as many frames of the driver's as it was told to, then nothing, for ever.
pub(crate) struct Cutter {
    /// The URL through it.
    pub(crate) url: String,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    frames_left: AtomicU64,
    cut: CancellationToken,
}

impl Cutter {
    /// Before the broker of `vhost`. It cuts nothing yet.
    pub(crate) async fn before(vhost: &Vhost) -> Self {
        let broker = (vhost.url.host_str().unwrap().to_owned(), vhost.url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = vhost.url.clone();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let cut = CancellationToken::new();
        let state = Arc::new(State { frames_left: AtomicU64::new(u64::MAX), cut });
        let listening = tokio::spawn(listen(listener, broker, state.clone()));
        Self { url: url.into(), state, listening }
    }

    /// Cuts before the next but `frames`.
    pub(crate) fn cut_after(&self, frames: u64) {
        self.state.frames_left.store(frames, Ordering::SeqCst);
    }

    /// Ends when it has cut.
    pub(crate) async fn has_cut(&self) {
        self.state.cut.cancelled().await;
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.state.cut.cancel();
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, broker: (String, u16), state: Arc<State>) {
    loop {
        let accepted = tokio::select! {
            () = state.cut.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (client, _) = accepted.unwrap();
        let server = TcpStream::connect(&broker).await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let both = pass_on(from_client, to_server, from_server, to_client, state.clone());
        tokio::spawn(both);
    }
}

/// Both ends hear that it is over when this ends: the halves are dropped.
async fn pass_on(
    mut from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    mut from_server: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    state: Arc<State>,
) {
    let back = copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = state.cut.cancelled() => {}
        _ = frames(&mut from_client, &mut to_server, &state) => {}
        _ = back => {}
    }
}

async fn frames(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    state: &State,
) -> std::io::Result<()> {
    const HEADER: usize = 8;
    let mut greeting = [0; HEADER];
    from.read_exact(&mut greeting).await?;
    to.write_all(&greeting).await?;
    loop {
        // Type, channel, and the length of the payload, behind which one byte ends the frame.
        let mut frame = vec![0; 7];
        from.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes(frame[3..7].try_into().unwrap());
        frame.resize(7 + length as usize + 1, 0);
        from.read_exact(&mut frame[7..]).await?;
        let left = state.frames_left.fetch_sub(1, Ordering::SeqCst);
        if left == 0 {
            state.cut.cancel();
            return Ok(());
        }
        to.write_all(&frame).await?;
    }
}
