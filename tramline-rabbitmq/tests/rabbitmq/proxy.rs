//! Stands between the driver and the broker, and does what networks do.

use crate::kit::Vhost;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
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
    /// What the broker is made to say.
    words: broadcast::Sender<Vec<u8>>,
    /// Connections of earlier counts do not reach the broker.
    deafens: watch::Sender<u32>,
    /// How many bytes reach the broker in a second.
    speed: AtomicUsize,
    connections: AtomicUsize,
}

impl Proxy {
    /// Before the broker of `vhost`.
    pub(crate) async fn before(vhost: &Vhost) -> Self {
        let broker = (vhost.url.host_str().unwrap().to_owned(), vhost.url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = vhost.url.clone();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (holds, cuts) = (watch::channel(false).0, watch::channel(0).0);
        let control = Arc::new(Control {
            holds,
            cuts,
            words: broadcast::channel(8).0,
            deafens: watch::channel(0).0,
            speed: AtomicUsize::new(usize::MAX),
            connections: AtomicUsize::new(0),
        });
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

    /// Makes the broker say that it takes nothing. To be called while it says nothing by itself.
    pub(crate) fn block(&self, reason: &str) {
        let reason_bytes = u8::try_from(reason.len()).unwrap();
        let mut arguments = vec![reason_bytes];
        arguments.extend(reason.as_bytes());
        self.say(60, &arguments);
    }

    /// Makes the broker say that it takes messages again.
    pub(crate) fn unblock(&self) {
        self.say(61, &[]);
    }

    /// A method of the class that is about connections.
    fn say(&self, method: u8, arguments: &[u8]) {
        const METHOD_FRAME: u8 = 1;
        const CONNECTION: u8 = 10;
        const END: u8 = 0xCE;
        let length = u8::try_from(4 + arguments.len()).unwrap();
        let mut frame = vec![METHOD_FRAME, 0, 0, 0, 0, 0, length, 0, CONNECTION, 0, method];
        frame.extend(arguments);
        frame.push(END);
        self.control.words.send(frame).unwrap();
    }

    /// Keeps back for ever what is said to the broker on the connections that there are.
    pub(crate) fn deafen(&self) {
        self.control.deafens.send_modify(|count| *count += 1);
    }

    /// Lets no more than so many bytes of a connection reach the broker in a second.
    pub(crate) fn slow_down(&self, bytes: usize) {
        self.control.speed.store(bytes, Ordering::SeqCst);
    }

    /// How many there have been.
    pub(crate) fn connections(&self) -> usize {
        self.control.connections.load(Ordering::SeqCst)
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

    /// As [`close`](Self::close), and who connects again comes to this listener instead.
    pub(crate) async fn replaced(mut self) -> TcpListener {
        self.close();
        let _ = (&mut self.listening).await;
        let url: url::Url = self.url.parse().unwrap();
        TcpListener::bind(("127.0.0.1", url.port().unwrap())).await.unwrap()
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
        control.connections.fetch_add(1, Ordering::SeqCst);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(to_broker(from_client, to_server, control.clone()));
        tokio::spawn(from_broker(from_server, to_client, control.clone()));
    }
}

async fn to_broker(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, control: Arc<Control>) {
    /// Of what a slow line carries in a second, at once.
    const PARTS: usize = 10;
    let (mut cuts, mut deafens) = (control.cuts.subscribe(), control.deafens.subscribe());
    let pass = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let speed = control.speed.load(Ordering::SeqCst);
            let part = (speed / PARTS).min(bytes.len());
            let Ok(count @ 1..) = from.read(&mut bytes[..part]).await else { return };
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
            if speed < usize::MAX {
                tokio::time::sleep(Duration::from_secs_f64(count as f64 / speed as f64)).await;
            }
        }
    };
    let pass_until_deaf = async {
        tokio::select! {
            () = pass => {}
            _ = deafens.changed() => std::future::pending().await,
        }
    };
    tokio::select! {
        () = pass_until_deaf => {}
        _ = cuts.changed() => {}
    }
}

async fn from_broker(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, control: Arc<Control>) {
    let (mut holds, mut cuts) = (control.holds.subscribe(), control.cuts.subscribe());
    let mut words = control.words.subscribe();
    let pass = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let said = tokio::select! {
                word = words.recv() => word.unwrap_or_default(),
                read = from.read(&mut bytes) => match read {
                    Ok(count @ 1..) => bytes[..count].to_vec(),
                    _ => return,
                },
            };
            let may_pass = holds.wait_for(|holds| !holds).await.is_ok();
            if !may_pass || to.write_all(&said).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pass => {}
        _ = cuts.changed() => {}
    }
}
