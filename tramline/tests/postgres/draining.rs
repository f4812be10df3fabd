//! Buses that are drained while their server is away.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tramline::{Bus, Endpoint, ErrorKind, Failure, Message, Postgres, State};
use tramline_services::or_skip;
use tramline_services::postgres::Server;
use tramline_services::testing::{Database, PATIENCE};

/// What runs has so long …
const LIMIT: Duration = Duration::from_secs(2);
/// … and to close may take so much more.
const GRACE: Duration = Duration::from_secs(5);
/// For a machine that is busy with others.
const SLACK: Duration = Duration::from_secs(3);
const AT_ONCE: usize = 2;

#[derive(Serialize, Deserialize)]
struct Ping {
    n: u32,
}

impl Message for Ping {
    const NAME: &'static str = "ping";
}

/// What handlers say of the ping that they have.
#[derive(Debug, PartialEq)]
enum Said {
    Begins(u32),
    Ends(u32),
}

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

async fn wait(
    ping: Ping,
    State(say): State<mpsc::Sender<Said>>,
    State(gate): State<Gate>,
) -> Result<(), Failure> {
    say.send(Said::Begins(ping.n)).await?;
    gate.0.acquire().await?.forget();
    Ok(say.send(Said::Ends(ping.n)).await?)
}

/// Whatever it has begun ends with it.
struct Program(Option<Runtime>);

impl Program {
    async fn run<T: Send + 'static>(&self, it: impl Future<Output = T> + Send + 'static) -> T {
        self.0.as_ref().unwrap().spawn(it).await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// A bus, and what its handlers say. They end when the gate lets them.
async fn start(url: String, gate: Gate) -> (Bus, mpsc::Receiver<Said>) {
    let options = Postgres::options(url).lease(Duration::from_secs(6));
    let (say, said) = mpsc::channel(100);
    let endpoint = Endpoint::new("work").concurrency(AT_ONCE).prefetch(4).handle(wait);
    let bus = Bus::builder(options.open().await.unwrap()).state(say).state(gate);
    (bus.endpoint(endpoint).start().await.unwrap(), said)
}

async fn next(said: &mut mpsc::Receiver<Said>) -> Said {
    timeout(PATIENCE, said.recv()).await.expect("nothing arrives").expect("the bus is gone")
}

/// Waits until no message is left.
async fn emptied(database: &Database) {
    let emptied = async {
        while !database.sql("SELECT FROM tramline.message").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, emptied).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_while_the_server_is_away_ends_in_time_and_what_was_not_settled_comes_again() {
    let Some(server) = or_skip(Server::temporary("drain", &[])) else { return };
    let database = Database::on(server.url().parse().unwrap());
    let gate = Gate(Arc::new(Semaphore::new(1)));
    let program = Program(Some(Runtime::new().unwrap()));
    let url = String::from(database.url.as_str());
    let (bus, mut said) = program.run(start(url.clone(), gate.clone())).await;
    bus.send("work", &Ping { n: 0 }).await.unwrap();
    assert_eq!([next(&mut said).await, next(&mut said).await], [Said::Begins(0), Said::Ends(0)]);
    emptied(&database).await;
    let pings: Vec<_> = (1..=8).map(|n| Ping { n }).collect();
    assert!(bus.send_all("work", &pings).await.iter().all(Result::is_ok));
    for _ in 0..AT_ONCE {
        assert!(matches!(next(&mut said).await, Said::Begins(_)));
    }

    // So that the server remembers who had what: it is in no hurry to write that down.
    database.sql("CHECKPOINT");
    server.kill().unwrap();
    gate.0.add_permits(1);
    // It cannot be settled, and the other one is still at work.
    let Said::Ends(ended) = next(&mut said).await else { panic!("none has ended") };
    let began = Instant::now();
    let drained = program.run(async move { bus.drain(LIMIT).await });
    let drained = timeout(PATIENCE, drained).await.expect("it does not end");
    let took = began.elapsed();
    assert!(took < LIMIT + GRACE + SLACK, "{took:?}");
    let error = drained.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("failed to close postgres://"), "{error}");
    drop(program);

    server.up().unwrap();
    gate.0.add_permits(100);
    let (_bus, mut said) = start(url, gate).await;
    let mut again = BTreeSet::new();
    while again.len() < pings.len() {
        if let Said::Ends(n) = next(&mut said).await {
            again.insert(n);
        }
    }
    assert!(again.contains(&ended) && !again.contains(&0), "{again:?}");
    emptied(&database).await;
}

/// Nothing is to be given back, and nothing more is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_holds_nothing_is_drained_soon_though_the_server_is_away() {
    let Some(server) = or_skip(Server::temporary("idle", &[])) else { return };
    let database = Database::on(server.url().parse().unwrap());
    let gate = Gate(Arc::new(Semaphore::new(1)));
    let (bus, mut said) = start(String::from(database.url.as_str()), gate).await;
    bus.send("work", &Ping { n: 0 }).await.unwrap();
    assert_eq!([next(&mut said).await, next(&mut said).await], [Said::Begins(0), Said::Ends(0)]);
    emptied(&database).await;
    server.kill().unwrap();
    // Whether it had to give something back, after a claim that went to the dying server, depends on the moment.
    let drained = timeout(PATIENCE, bus.drain(10 * PATIENCE)).await;
    assert!(drained.is_ok(), "it waits for its limit");
    server.up().unwrap();
}
