//! A bridge from memory to a SQLite file.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline::sqlite::Sqlite;
use tramline::{Bridge, Bus, Draft, Endpoint, Failure, Memory, Message, State, Tx};

#[derive(Serialize, Deserialize)]
struct Count {
    n: i64,
}

impl Message for Count {
    const NAME: &'static str = "count";
}

type Told = mpsc::UnboundedSender<i64>;

async fn write(count: Count, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute("INSERT INTO counted VALUES (?)", [count.n])?;
        db.send("end", &count)
    })
}

async fn tell(count: Count, State(told): State<Told>) {
    told.send(count.n).expect("the test listens");
}

async fn next(counted: &mut mpsc::UnboundedReceiver<i64>) -> i64 {
    let told = tokio::time::timeout(Duration::from_secs(60), counted.recv());
    told.await.expect("it never comes").expect("the bus is there")
}

#[tokio::test]
async fn over_a_bridge_to_a_file_each_message_has_its_effects_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("far.db")).await.unwrap();
    let (told, mut counted) = mpsc::unbounded_channel::<i64>();
    let far = Bus::builder(store.clone()).store(store.clone()).state::<Told>(told);
    let far = far.endpoint(Endpoint::new("in").concurrency(1).transactional().handle(write));
    let far = far.endpoint(Endpoint::new("end").concurrency(1).handle(tell)).start().await.unwrap();
    let writer = far.store(&store);
    let create = "CREATE TABLE counted (n INTEGER)";
    writer.write(move |db| Ok(db.execute(create, ()).map(drop)?)).await.unwrap();
    let out = Endpoint::new("out").concurrency(1).bridge(Bridge::to_queue(&far, "in"));
    let near = Bus::builder(Memory::new()).endpoint(out).start().await.unwrap();
    let numbers: Vec<_> = (0..20).chain(5..15).chain([20]).map(|n| Count { n }).collect();
    let drafts =
        numbers.iter().map(|count| Draft::of(count).id(count.n.to_string().parse().unwrap()));
    assert!(near.send_all("out", drafts).await.iter().all(Result::is_ok));
    let mut seen = Vec::new();
    while seen.last() != Some(&20) {
        seen.push(next(&mut counted).await);
    }
    assert_eq!(seen, (0..=20).collect::<Vec<_>>());
    let sum = "SELECT count(*) FROM counted";
    let rows: i64 =
        writer.read(move |db| Ok(db.query_row(sum, (), |row| row.get(0))?)).await.unwrap();
    assert_eq!(rows, 21);
}
