//! Responders that are killed: who asks has a reply or a time-out, never waits for ever, and what a responder did
//! and what it published are there together, once.

use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tempfile::tempdir;
use tramline::request::{Request, RequestError};
use tramline::sqlite::rusqlite::Connection;
use tramline::{Bus, Endpoint, Failure, Message, Outbox, Sqlite, Tx};

/// Where the responder finds the file; only set for it.
const FILE: &str = "TRAMLINE_TEST_REQUESTS_FILE";
const REQUESTS: u64 = 3000;
const AT_ONCE: usize = 50;
const KILLS: u64 = 10;
/// For how long a requester waits; longer than a responder needs to come again.
const PATIENCE: Duration = Duration::from_secs(20);
/// No step takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Serialize, Deserialize)]
struct Reserve {
    n: u64,
}
impl Message for Reserve {
    const NAME: &'static str = "stock.reserve";
}
impl Request for Reserve {
    type Reply = Reserved;
}

/// The reply, and what the responder publishes with it.
#[derive(Serialize, Deserialize)]
struct Reserved {
    n: u64,
}
impl Message for Reserved {
    const NAME: &'static str = "stock.reserved";
}

async fn reserve(request: Reserve, outbox: Outbox, tx: Tx<Sqlite>) -> Result<Reserved, Failure> {
    let n = request.n;
    tx.write(move |db| {
        Ok(db.execute("INSERT INTO reserved VALUES (?1)", [n as i64]).map(drop)?)
    })?;
    outbox.send("told", &Reserved { n })?;
    Ok(Reserved { n })
}

async fn hear(told: Reserved, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| Ok(db.execute("INSERT INTO told VALUES (?1)", [told.n as i64]).map(drop)?))
}

async fn connect(file: &Path) -> (tramline::BusBuilder<Sqlite>, Sqlite) {
    let sqlite = Sqlite::open(file).await.unwrap();
    (Bus::builder(sqlite.clone()).store(sqlite.clone()), sqlite)
}

fn told() -> Endpoint {
    Endpoint::new("told").transactional().handle(hear)
}

/// Not a test by itself: the responder, a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responder() {
    let Ok(file) = std::env::var(FILE) else { return };
    let stock = Endpoint::new("stock").transactional().concurrency(16).respond(reserve);
    let (bus, _sqlite) = connect(file.as_ref()).await;
    let _bus = bus.endpoint(stock).endpoint(told()).start().await.unwrap();
    writeln!(std::io::stdout(), "\nthe responder responds").unwrap();
    std::future::pending::<()>().await;
}

fn start_responder(file: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "requests_killed::responder", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == "the responder responds"));
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_responder_is_a_time_out_at_worst_and_does_everything_once_or_nothing() {
    let place = tempdir().unwrap();
    let file = place.path().join("stock.db");
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch("CREATE TABLE reserved (n INTEGER); CREATE TABLE told (n INTEGER)")
        .unwrap();
    let mut child = start_responder(&file);
    let (bus, _sqlite) = connect(&file).await;
    let bus = Arc::new(bus.start().await.unwrap());
    let ended = Arc::new(AtomicU64::new(0));
    let asking = tokio::spawn({
        let (bus, ended) = (bus.clone(), ended.clone());
        stream::iter(0..REQUESTS)
            .map(move |n| {
                let (bus, ended) = (bus.clone(), ended.clone());
                async move {
                    let asked = bus.request("stock", &Reserve { n }).ttl(PATIENCE).await;
                    ended.fetch_add(1, SeqCst);
                    match asked {
                        Ok(reply) => {
                            assert_eq!(reply.n, n, "the reply to another");
                            Some(n)
                        }
                        Err(RequestError::TimedOut { .. }) => None,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(async |replied| replied)
            .collect::<Vec<u64>>()
    });
    for nth in 1..=KILLS {
        let enough = nth * REQUESTS / (KILLS + 1);
        let asked = async {
            while ended.load(SeqCst) < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, asked).await.expect("requests end");
        kill(child);
        child = start_responder(&file);
    }
    let mut replied = tokio::time::timeout(LIMIT, asking).await.expect("no request hangs").unwrap();
    replied.sort_unstable();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let all_told = async {
        while count("SELECT count(*) FROM told") < count("SELECT count(*) FROM reserved") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, all_told).await.expect("everything is told");
    kill(child);
    let rows = |table: &str| {
        let mut rows = connection.prepare(&format!("SELECT n FROM {table} ORDER BY n")).unwrap();
        let rows = rows.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        rows.map(|n| n.unwrap() as u64).collect::<Vec<_>>()
    };
    let reserved = rows("reserved");
    assert!(reserved.windows(2).all(|two| two[0] < two[1]), "each once");
    assert_eq!(rows("told"), reserved, "published with what was done, or neither");
    let without = replied.iter().find(|n| reserved.binary_search(n).is_err());
    assert_eq!(without, None, "a reply to what was not done");
    let late = REQUESTS - replied.len() as u64;
    assert!(late < REQUESTS / 10, "{late} timed out, though a responder was there soon each time");
}
