//! Queued statements that fail, among those of others.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, mpsc};
use tokio::time::timeout;
use tramline::core::name::QueueRef;
use tramline::core::operate::Operate;
use tramline::{Attempt, Bus, Endpoint, Failure, Message, Postgres, QueueName, Retry, State, Tx};
use tramline_services::testing::{Database, PATIENCE};

/// As many are handled at once.
const ORDERS: i64 = 40;
/// Those whose statements fail.
const BAD: [i64; 2] = [13, 27];
const RUNS: u32 = 3;

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: i64,
    parts: i64,
}

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

/// Which order was handled, and for which time.
type Runs = mpsc::Sender<(i64, u32)>;

/// All that come for the first time end at the same moment.
async fn charge(
    order: OrderPlaced,
    attempt: Attempt,
    mut tx: Tx<Postgres>,
    State(together): State<Arc<Barrier>>,
    State(runs): State<Runs>,
) -> Result<(), Failure> {
    runs.send((order.order_id, attempt.0)).await?;
    const CHARGE: &str = "INSERT INTO ledger (order_id, cents) VALUES ($1, 1200 / $2)";
    tx.write(CHARGE, (order.order_id, order.parts))?;
    if attempt.0 == 1 {
        together.wait().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_statement_fails_is_charged_for_each_run_and_its_group_for_none() {
    let Some(database) = Database::fresh() else { return };
    database.sql(
        "CREATE TABLE ledger (order_id bigint NOT NULL, cents bigint NOT NULL,
             unit text DEFAULT pg_current_xact_id()::text)",
    );
    let postgres = Postgres::connect(database.url.as_str()).await.unwrap();
    let (runs, mut ran) = mpsc::channel::<(i64, u32)>(1000);
    let (dies, mut died) = mpsc::channel(100);
    let retry = Retry::fixed(Duration::from_millis(20)).runs(RUNS);
    let payment =
        Endpoint::new("payment").transactional().concurrency(ORDERS as usize).retry(retry);
    let bus = Bus::builder(postgres.clone())
        .store(postgres)
        .state(runs)
        .state(Arc::new(Barrier::new(ORDERS as usize)))
        .on_dead_letter(move |_| {
            let dies = dies.clone();
            async move { dies.send(()).await.unwrap() }
        })
        .endpoint(payment.handle(charge));
    let bus = bus.start().await.unwrap();
    let orders: Vec<_> = (0..ORDERS)
        .map(|order_id| OrderPlaced { order_id, parts: i64::from(!BAD.contains(&order_id)) })
        .collect();
    assert!(bus.send_all("payment", &orders).await.iter().all(Result::is_ok));
    for _ in BAD {
        timeout(PATIENCE, died.recv()).await.unwrap().unwrap();
    }
    let _drained = bus.drain(PATIENCE).await.unwrap();

    let dead = QueueRef::Dead(QueueName::new("payment").unwrap());
    let operator = Postgres::connect(database.url.as_str()).await.unwrap();
    let dead = operator.peek(&dead, None, 100).await.unwrap();
    assert_eq!(dead.len(), BAD.len());
    for dead in dead {
        let death = dead.death.unwrap();
        assert_eq!((death.reason.as_str(), death.failures), ("exhausted", RUNS));
        let notes = death.history.notes();
        assert_eq!(notes.iter().map(|note| note.failure).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(notes.iter().all(|note| note.error.contains("division by zero")), "{notes:?}");
    }
    let mut all: Vec<_> = std::iter::from_fn(|| ran.try_recv().ok()).collect();
    all.sort();
    let times = |id| if BAD.contains(&id) { RUNS } else { 1 };
    let expected = (0..ORDERS).flat_map(|id| (1..=times(id)).map(move |run| (id, run)));
    assert_eq!(all, expected.collect::<Vec<_>>());
    let charged = "SELECT count(*), count(DISTINCT order_id), count(DISTINCT unit) FROM ledger";
    let charged: Vec<i64> = database.sql(charged)[0]
        .iter()
        .map(|count| count.as_ref().unwrap().parse().unwrap())
        .collect();
    let good = ORDERS - BAD.len() as i64;
    assert_eq!(charged[..2], [good, good]);
    assert!(charged[2] < good / 2, "they shared transactions: {charged:?}");
}
