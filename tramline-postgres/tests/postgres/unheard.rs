//! Notifications that do not arrive, as through a proxy that pools transactions.

use crate::kit::{column, prepared, receiver, send, within};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, Result, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::interval;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::Schedules;
use tramline_core::transport::{Delivery, Receiver};
use tramline_postgres::Postgres;
use tramline_services::testing::Database;

/// Messages for which somebody waits …
const NOW_AND_THEN: Duration = Duration::from_millis(150);
/// … and for longer than it takes to find out that nothing is heard.
const COUNT: usize = 30;
/// Much longer than the pauses between two looks, and much shorter than one sleeps who expects to be woken.
const LATE: Duration = Duration::from_secs(4);

/// What the server says beside its answers is lost at this address.
async fn without_notifications(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            let (mut asks, hears) = client.into_split();
            let (answers, mut asked) = server.into_split();
            tokio::spawn(async move { copy(&mut asks, &mut asked).await });
            tokio::spawn(pass_on_answers(answers, hears));
        }
    });
    address
}

async fn pass_on_answers(
    answers: impl AsyncReadExt + Unpin,
    mut hears: impl AsyncWriteExt + Unpin,
) -> Result<()> {
    let mut answers = BufReader::new(answers);
    loop {
        let (kind, length) = (answers.read_u8().await?, answers.read_u32().await?);
        let mut rest = vec![0; length as usize - 4];
        answers.read_exact(&mut rest).await?;
        if kind != b'A' {
            hears.write_all(&[&[kind], &length.to_be_bytes()[..], &rest].concat()).await?;
        }
    }
}

/// A database, and its URL behind such a proxy.
async fn unheard() -> Option<(Database, String)> {
    let database = Database::fresh()?;
    drop(prepared(&database).await);
    let server = database.url.socket_addrs(|| None).unwrap()[0];
    let mut url = database.url.clone();
    url.set_port(Some(without_notifications(server).await.port())).unwrap();
    url.set_query(Some("sslmode=disable"));
    Some((database, url.into()))
}

/// More often than it is told that it hears nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_nothing_looks_for_schedules_by_itself() {
    let Some((database, url)) = unheard().await else { return };
    let postgres = Postgres::connect(url).await.unwrap();
    for _ in 0..10 {
        let seen = postgres.changes();
        within(postgres.changed_since(seen)).await;
        assert!(postgres.changes() > seen);
    }
    assert_eq!(column(&database, "SELECT count(*) FROM tramline.asleep"), ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_nothing_looks_often_and_is_not_waited_for() {
    let Some((database, url)) = unheard().await else { return };
    let one = Postgres::connect(url.as_str()).await.unwrap();
    let other = Postgres::connect(url.as_str()).await.unwrap();
    let mut consumer = receiver(&one, 1).await;
    let (says, mut comes) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let delivery = consumer.next().await.unwrap().unwrap();
            assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
            says.send(()).await.unwrap();
        }
    });
    let mut now_and_then = interval(NOW_AND_THEN);
    for id in 0..COUNT {
        now_and_then.tick().await;
        let sent = Instant::now();
        assert!(send(&other, &id.to_string()).await.is_accepted());
        within(comes.recv()).await.unwrap();
        assert!(sent.elapsed() < LATE, "{id} has come after {:?}", sent.elapsed());
    }
    assert_eq!(column(&database, "SELECT count(*) FROM tramline.asleep"), ["0"]);
    let shown = "SELECT count(*) FROM tramline.process WHERE backend IS NOT NULL";
    assert_eq!(column(&database, shown), ["0"], "a session of everybody's shows nothing");
}
