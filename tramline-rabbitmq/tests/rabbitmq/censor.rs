//! Stands between the driver and the broker, and keeps some of the broker's words back for ever.

use crate::kit::Vhost;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is passed on instead of a frame of the broker's: itself, another one, several, or nothing.
type Rule = Arc<dyn Fn(Frame) -> Vec<Frame> + Send + Sync>;

/// Passes on what its rule lets through. Ends when it is dropped.
pub(crate) struct Censor {
    /// The URL through it.
    pub(crate) url: String,
    holds_consumers: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

/// One frame of the protocol.
pub(crate) struct Frame {
    kind: u8,
    channel: [u8; 2],
    payload: Vec<u8>,
    late: Duration,
}

impl Censor {
    /// Before the broker of `vhost`.
    pub(crate) async fn before(
        vhost: &Vhost,
        rule: impl Fn(Frame) -> Vec<Frame> + Send + Sync + 'static,
    ) -> Self {
        let broker = (vhost.url.host_str().unwrap().to_owned(), vhost.url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = vhost.url.clone();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (holds_consumers, is_held) = watch::channel(false);
        let listening = tokio::spawn(listen(listener, broker, Arc::new(rule), is_held));
        Self { url: url.into(), holds_consumers, listening }
    }

    /// Whether new connections that consume are kept from getting through.
    pub(crate) fn hold_consumers(&self, holds: bool) {
        self.holds_consumers.send_replace(holds);
    }
}

impl Drop for Censor {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Frame {
    /// The arguments, if it is this method of this class.
    pub(crate) fn arguments(&self, class: u16, method: u16) -> Option<&[u8]> {
        const METHOD: u8 = 1;
        let begin = [class.to_be_bytes(), method.to_be_bytes()].concat();
        (self.kind == METHOD).then(|| self.payload.strip_prefix(begin.as_slice()))?
    }

    /// With no more than so many channels, if it says how many a connection may have.
    pub(crate) fn with_channels(mut self, channels_max: u16) -> Self {
        const TUNE: (u16, u16) = (10, 30);
        if self.arguments(TUNE.0, TUNE.1).is_some() {
            self.payload[4..6].copy_from_slice(&channels_max.to_be_bytes());
        }
        self
    }

    pub(crate) fn is_heartbeat(&self) -> bool {
        const HEARTBEAT: u8 = 8;
        self.kind == HEARTBEAT
    }

    /// Passed on so much later, and all that follows with it.
    pub(crate) fn late(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    /// The confirms of one message each that this one stands for, beginning behind `confirmed`, which is
    /// moved on. `None` if it is no confirm.
    pub(crate) fn confirms(&self, confirmed: &mut u64) -> Option<Vec<(u64, Self)>> {
        const BASIC_ACK: (u16, u16) = (60, 80);
        let arguments = self.arguments(BASIC_ACK.0, BASIC_ACK.1)?;
        let last = u64::from_be_bytes(arguments[..8].try_into().unwrap());
        let is_multiple = arguments[8] == 1;
        let tags = if is_multiple { *confirmed + 1..=last } else { last..=last };
        *confirmed = last.max(*confirmed);
        let confirm = |tag: u64| {
            let mut payload = [BASIC_ACK.0.to_be_bytes(), BASIC_ACK.1.to_be_bytes()].concat();
            payload.extend(tag.to_be_bytes());
            payload.push(0);
            (tag, Self { kind: self.kind, channel: self.channel, payload, late: self.late })
        };
        Some(tags.map(confirm).collect())
    }
}

async fn listen(
    listener: TcpListener,
    broker: (String, u16),
    rule: Rule,
    is_held: watch::Receiver<bool>,
) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&broker).await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (rule, is_held) = (rule.clone(), is_held.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = pass_on(from_client, to_server, is_held) => {}
                _ = censor(from_server, to_client, rule) => {}
            }
        });
    }
}

/// Who consumes says so in the connection's name, which comes before anything can be done.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut is_held: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let consumes = bytes[..count].windows(8).any(|name| name == b"/consume");
        if consumes && is_held.wait_for(|holds| !holds).await.is_err() {
            return Ok(());
        }
        to.write_all(&bytes[..count]).await?;
    }
}

async fn censor(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rule: Rule) -> io::Result<()> {
    const END: u8 = 0xCE;
    loop {
        let kind = from.read_u8().await?;
        let mut channel = [0; 2];
        from.read_exact(&mut channel).await?;
        let mut payload = vec![0; from.read_u32().await? as usize];
        from.read_exact(&mut payload).await?;
        assert_eq!(from.read_u8().await?, END);
        let frame = Frame { kind, channel, payload, late: Duration::ZERO };
        for Frame { kind, channel, payload, late } in rule(frame) {
            tokio::time::sleep(late).await;
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            to.write_all(&[&[kind], &channel[..], &length, &payload, &[END]].concat()).await?;
        }
    }
}
