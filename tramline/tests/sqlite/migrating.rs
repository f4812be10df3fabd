//! A newer program migrates a file while an older one works on it.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tramline::sqlite::rusqlite::Connection;
use tramline::{Bus, Endpoint, Error, ErrorKind, Failure, Message, Sqlite, State, Tx};

/// No step of a test takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Ping;
impl Message for Ping {
    const NAME: &'static str = "ping";
}

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

type Begun = mpsc::Sender<()>;

async fn wait(
    _: Ping,
    State(begun): State<Begun>,
    State(gate): State<Gate>,
    tx: Tx<Sqlite>,
) -> Result<(), Failure> {
    begun.send(()).await?;
    gate.0.acquire().await?.forget();
    tx.write(|db| Ok(db.execute("INSERT INTO handled VALUES (1)", []).map(drop)?))
}

/// Does what a newer program's migration does, whatever else that is.
fn migrate(connection: &Connection) {
    let migration = "BEGIN IMMEDIATE;
         UPDATE tramline_schema SET version = 999;
         UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology';
         COMMIT;";
    connection.execute_batch(migration).unwrap();
}

fn connect(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(LIMIT).unwrap();
    connection
}

fn assert_says_why(error: &Error) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Outdated, "{text}");
    for part in ["shop.db", "version 999", "up to 1", "a newer program has written them"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it never ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_on_a_file_that_a_newer_program_migrates_stops() {
    for is_busy in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.db");
        let store = Sqlite::open(&file).await.unwrap();
        store.write(|db| Ok(db.execute("CREATE TABLE handled (n)", [])?)).await.unwrap();
        let (begun, mut begins) = mpsc::channel::<()>(10);
        let gate = Gate(Arc::new(Semaphore::new(0)));
        let bus = Bus::builder(store.clone()).store(store.clone()).state(begun).state(gate.clone());
        let endpoint = Endpoint::new("q").concurrency(1).transactional().handle(wait);
        let bus = bus.endpoint(endpoint).start().await.unwrap();
        if is_busy {
            bus.send("q", &Ping).await.unwrap();
            within(begins.recv()).await.unwrap();
        }
        let newer = connect(&file);
        migrate(&newer);
        gate.0.add_permits(1);
        assert_says_why(&within(bus.until_stopping()).await.unwrap_err());
        assert_says_why(&bus.send("q", &Ping).await.unwrap_err());
        assert_says_why(&within(bus.run(LIMIT)).await.unwrap_err());
        let count = |sql| newer.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM handled"), 0);
        let held = count("SELECT count(*) FROM tramline_leased");
        assert_eq!(held, i64::from(is_busy), "it comes again when this process is gone");
    }
}

/// In `q`, for which nobody asks any more.
async fn leave_a_dead_letter(file: &Path) {
    async fn refuse(_: Ping) -> Result<(), Failure> {
        Err(Failure::permanent("not for us"))
    }
    let (died, mut deaths) = mpsc::channel(1);
    let tell = move |_| {
        let died = died.clone();
        async move { died.send(()).await.unwrap() }
    };
    let bus = Bus::builder(Sqlite::open(file).await.unwrap()).on_dead_letter(tell);
    let bus = bus.endpoint(Endpoint::new("q").handle(refuse)).start().await.unwrap();
    bus.send("q", &Ping).await.unwrap();
    within(deaths.recv()).await.unwrap();
    let _drained = bus.drain(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_bus_without_endpoints_stops_when_its_callers_are_refused() {
    for call in ["write and publish", "redrive", "release"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.db");
        leave_a_dead_letter(&file).await;
        let store = Sqlite::open(&file).await.unwrap();
        let bus = Bus::builder(store.clone()).publishes::<Ping>().start().await.unwrap();
        migrate(&connect(&file));
        assert!(!bus.is_stopping(), "it has not met it");
        let failed = match call {
            "write and publish" => {
                let publish = |db: &tramline::sqlite::Db<'_>| db.publish(&Ping);
                bus.store(&store).write(publish).await.unwrap_err().outdated().unwrap()
            }
            "redrive" => bus.dead_letters("q").unwrap().redrive_all().await.unwrap_err(),
            _ => bus.unsent(&store).release().await.unwrap_err(),
        };
        assert_says_why(&failed);
        assert_says_why(&within(bus.until_stopping()).await.unwrap_err());
        assert_says_why(&bus.publish(&Ping).await.unwrap_err());
    }
}
