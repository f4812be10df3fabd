//! A network between client and broker that can be cut, refused, stalled and deafened.

use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Listens on loopback, and forwards whatever comes until it is told otherwise. Dropping it cuts all
/// connections.
pub(crate) struct Proxy {
    port: u16,
    road: Arc<Road>,
    _all: DropGuard,
}

/// From where to where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToBroker,
    ToClient,
}

/// What becomes of bytes on their way, and of new connections.
struct Road {
    broker: SocketAddr,
    refuses: AtomicBool,
    stalls: watch::Sender<bool>,
    /// The connections since the last cut or loss.
    present: Mutex<Generation>,
    all: CancellationToken,
}

/// Connections that meet the same fate.
#[derive(Clone)]
struct Generation {
    cut: CancellationToken,
    lost: Arc<[AtomicBool; 2]>,
    made: Arc<AtomicUsize>,
    /// By the client.
    ended: Arc<AtomicUsize>,
}

/// Connections that have lost what they carry.
pub(crate) struct Lost(Generation);

impl Lost {
    /// Whether the client has ended every one of them.
    pub(crate) fn is_given_up(&self) -> bool {
        let Generation { made, ended, .. } = &self.0;
        ended.load(Ordering::SeqCst) == made.load(Ordering::SeqCst)
    }

    /// How many they are.
    pub(crate) fn connections(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }
}

impl Proxy {
    /// A way to `broker`.
    pub(crate) async fn to(broker: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let all = CancellationToken::new();
        let road = Arc::new(Road {
            broker,
            refuses: AtomicBool::new(false),
            stalls: watch::Sender::new(false),
            present: Mutex::new(Generation::new(&all)),
            all: all.clone(),
        });
        tokio::spawn(all.clone().run_until_cancelled_owned(accept(listener, road.clone())));
        Ok(Self { port, road, _all: all.drop_guard() })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made since the last cut or loss.
    pub(crate) fn connections(&self) -> usize {
        self.road.present.lock().made.load(Ordering::SeqCst)
    }

    /// Ends every present connection at once.
    pub(crate) fn cut(&self) {
        self.next_generation().cut.cancel();
    }

    /// Whether new connections are ended as soon as they are made.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.road.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Whether bytes stay on the way, in both directions, and nothing is closed.
    pub(crate) fn stall(&self, stalls: bool) {
        self.road.stalls.send_replace(stalls);
    }

    /// From here on nothing arrives any more that present connections carry in these directions, and
    /// nobody is told: the other side is gone without a word. New connections are sound.
    pub(crate) fn lose(&self, directions: &[Direction]) -> Lost {
        let generation = self.next_generation();
        for direction in directions {
            generation.lost[*direction as usize].store(true, Ordering::SeqCst);
        }
        Lost(generation)
    }

    /// Begins a new one. Answers that of the present connections.
    fn next_generation(&self) -> Generation {
        let next = Generation::new(&self.road.all);
        std::mem::replace(&mut self.road.present.lock(), next)
    }
}

impl Generation {
    fn new(all: &CancellationToken) -> Self {
        let (lost, made, ended) = Default::default();
        Self { cut: all.child_token(), lost, made, ended }
    }
}

async fn accept(listener: TcpListener, road: Arc<Road>) {
    loop {
        // Whoever has made a connection that broke at once makes another.
        let Ok((client, _)) = listener.accept().await else { continue };
        if road.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let generation = {
            let present = road.present.lock();
            present.made.fetch_add(1, Ordering::SeqCst);
            present.clone()
        };
        let cut = generation.cut.clone();
        tokio::spawn(cut.run_until_cancelled_owned(connect(client, road.clone(), generation)));
    }
}

async fn connect(client: TcpStream, road: Arc<Road>, generation: Generation) {
    let Ok(broker) = TcpStream::connect(road.broker).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::join!(
        carry(from_client, to_broker, Direction::ToBroker, &road, &generation),
        carry(from_broker, to_client, Direction::ToClient, &road, &generation),
    );
}

/// Carries bytes until their source ends, and then tells the other side, unless that is lost too. If the
/// other side is gone, what comes for it is dropped: when the client ends is to be heard all the same.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    road: &Road,
    generation: &Generation,
) {
    let mut stalls = road.stalls.subscribe();
    let mut bytes = vec![0; 16 * 1024];
    let mut is_gone = false;
    loop {
        // The sender is in the road: it is never gone.
        let _ = stalls.wait_for(|stalls| !stalls).await;
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let _ = stalls.wait_for(|stalls| !stalls).await;
        let is_lost = generation.lost[direction as usize].load(Ordering::SeqCst);
        if read == 0 && direction == Direction::ToBroker {
            generation.ended.fetch_add(1, Ordering::SeqCst);
        }
        match read {
            0 if is_lost => return std::future::pending().await,
            0 => return drop(to.shutdown().await),
            _ if is_lost || is_gone => {}
            read => is_gone = to.write_all(&bytes[..read]).await.is_err(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// After this time nothing comes any more.
    const SILENCE: Duration = Duration::from_millis(50);

    /// A broker that says everything again.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::to(address).await.unwrap()
    }

    async fn client(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
    }

    /// What comes back for one byte: that byte, or 0 for an end.
    async fn said(client: &mut TcpStream, byte: u8) -> io::Result<u8> {
        client.write_all(&[byte]).await?;
        heard(client).await
    }

    async fn heard(client: &mut TcpStream) -> io::Result<u8> {
        let mut bytes = [0];
        let read = tokio::time::timeout(PATIENCE, client.read(&mut bytes)).await.unwrap()?;
        Ok(if read == 0 { 0 } else { bytes[0] })
    }

    async fn given_up(lost: &Lost) {
        let given_up = async {
            while !lost.is_given_up() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, given_up).await.unwrap();
    }

    async fn is_silent(client: &mut TcpStream) -> bool {
        tokio::time::timeout(SILENCE, client.read(&mut [0])).await.is_err()
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_new_connections_are_sound() {
        let proxy = echo().await;
        let mut one = client(&proxy).await;
        assert_eq!(said(&mut one, 1).await.unwrap(), 1);
        proxy.cut();
        assert_eq!(heard(&mut one).await.unwrap_or(0), 0);
        assert_eq!(said(&mut client(&proxy).await, 2).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn while_connections_are_refused_the_present_ones_go_on() {
        let proxy = echo().await;
        let mut one = client(&proxy).await;
        assert_eq!(said(&mut one, 1).await.unwrap(), 1);
        proxy.refuse(true);
        assert_eq!(heard(&mut client(&proxy).await).await.unwrap_or(0), 0);
        assert_eq!(said(&mut one, 2).await.unwrap(), 2);
        proxy.refuse(false);
        assert_eq!(said(&mut client(&proxy).await, 3).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_was_said_while_it_stalls_arrives_afterwards() {
        let proxy = echo().await;
        let mut one = client(&proxy).await;
        assert_eq!(said(&mut one, 1).await.unwrap(), 1);
        proxy.stall(true);
        one.write_all(&[2]).await.unwrap();
        assert!(is_silent(&mut one).await);
        proxy.stall(false);
        assert_eq!(heard(&mut one).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_connection_that_is_lost_is_given_up_when_its_client_ends_it() {
        let proxy = echo().await;
        let (mut one, mut other) = (client(&proxy).await, client(&proxy).await);
        assert_eq!(said(&mut one, 1).await.unwrap(), 1);
        assert_eq!(said(&mut other, 1).await.unwrap(), 1);
        assert_eq!(proxy.connections(), 2);
        let lost = proxy.lose(&[Direction::ToBroker]);
        assert_eq!((lost.connections(), proxy.connections()), (2, 0));
        drop(one);
        assert!(is_silent(&mut other).await);
        assert!(!lost.is_given_up(), "there is another");
        drop(other);
        given_up(&lost).await;
    }

    #[tokio::test]
    async fn whoever_ends_a_connection_whose_broker_has_gone_before_has_given_it_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap()).await.unwrap();
        let mut one = client(&proxy).await;
        drop(listener.accept().await.unwrap());
        assert_eq!(heard(&mut one).await.unwrap(), 0);
        // More than is carried at once: what comes second cannot be written.
        one.write_all(&[0; 100 * 1024]).await.unwrap();
        let lost = proxy.lose(&[Direction::ToClient]);
        drop(one);
        given_up(&lost).await;
    }

    #[tokio::test]
    async fn what_is_lost_never_arrives_and_nobody_hears_of_it() {
        for direction in [Direction::ToBroker, Direction::ToClient] {
            let proxy = echo().await;
            let mut one = client(&proxy).await;
            assert_eq!(said(&mut one, 1).await.unwrap(), 1);
            proxy.lose(&[direction]);
            one.write_all(&[2]).await.unwrap();
            assert!(is_silent(&mut one).await, "{direction:?}");
            assert_eq!(said(&mut client(&proxy).await, 3).await.unwrap(), 3);
            proxy.cut();
            assert!(is_silent(&mut one).await, "it was lost before the cut");
        }
    }
}
