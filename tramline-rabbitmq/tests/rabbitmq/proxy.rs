//! Stands between the driver and the broker, and does what networks do.

use crate::kit::Vhost;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes every byte on, unless told otherwise. Ends when it is dropped.
pub(crate) struct Proxy {
    /// The URL through it.
    pub(crate) url: String,
    control: Arc<Control>,
    listening: JoinHandle<()>,
}

struct Control {
    /// What the broker says is kept back.
    holds: watch::Sender<bool>,
    /// Connections of earlier counts are cut.
    cuts: watch::Sender<u32>,
}

impl Proxy {
    /// Before the broker of `vhost`.
    pub(crate) async fn before(vhost: &Vhost) -> Self {
        let broker = (vhost.url.host_str().unwrap().to_owned(), vhost.url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = vhost.url.clone();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let control = Control { holds: watch::channel(false).0, cuts: watch::channel(0).0 };
        let control = Arc::new(control);
        let listening = tokio::spawn(listen(listener, broker, control.clone()));
        Self { url: url.into(), control, listening }
    }

    /// Keeps back what the broker says, until [`pass`](Self::pass).
    pub(crate) fn hold(&self) {
        self.control.holds.send_replace(true);
    }

    pub(crate) fn pass(&self) {
        self.control.holds.send_replace(false);
    }

    /// Cuts every connection off.
    pub(crate) fn cut(&self) {
        self.control.cuts.send_modify(|count| *count += 1);
    }

    /// Cuts every connection off, and lets nobody connect again.
    pub(crate) fn close(&self) {
        self.listening.abort();
        self.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
    }
}

async fn listen(listener: TcpListener, broker: (String, u16), control: Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(&broker).await else { continue };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(pass_on(from_client, to_server, control.clone(), false));
        tokio::spawn(pass_on(from_server, to_client, control.clone(), true));
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    control: Arc<Control>,
    may_be_held: bool,
) {
    let (mut holds, mut cuts) = (control.holds.subscribe(), control.cuts.subscribe());
    let mut bytes = vec![0; 64 * 1024];
    let pass = async {
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if may_be_held && holds.wait_for(|holds| !holds).await.is_err() {
                return;
            }
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pass => {}
        _ = cuts.changed() => {}
    }
}
