//! Schedules on a real PostgreSQL, fired by several processes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tramline::schedules::{Cancelled, SCHEDULED_FOR, Scheduled};
use tramline::{
    Bus, CatchUp, Endpoint, Failure, Headers, Message, Planner, Postgres, Recurring, State, Tx,
};
use tramline_services::testing::{Database, PATIENCE};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

#[derive(Serialize, Deserialize)]
struct Remind {
    n: u64,
}

impl Message for Remind {
    const NAME: &'static str = "orders.remind";
}

#[derive(Serialize, Deserialize)]
struct Tick {}

impl Message for Tick {
    const NAME: &'static str = "clock.tick";
}

#[derive(Serialize, Deserialize)]
struct Placed {
    n: u64,
}

impl Message for Placed {
    const NAME: &'static str = "orders.placed";
}

#[derive(Serialize, Deserialize)]
struct Paid {
    n: u64,
}

impl Message for Paid {
    const NAME: &'static str = "orders.paid";
}

/// What was handled: the number of a reminder, or the moment of a tick.
#[derive(Debug, PartialEq, Eq)]
enum Handled {
    Reminder(u64),
    Tick(i64),
    Paid,
}

type Log = mpsc::UnboundedSender<Handled>;

async fn remind(remind: Remind, State(log): State<Log>) {
    log.send(Handled::Reminder(remind.n)).unwrap();
}

async fn tick(_tick: Tick, headers: Headers, State(log): State<Log>) {
    let moment = headers.get(SCHEDULED_FOR).and_then(|moment| moment.as_int());
    log.send(Handled::Tick(moment.unwrap())).unwrap();
}

async fn next(handled: &mut mpsc::UnboundedReceiver<Handled>) -> Handled {
    timeout(PATIENCE, handled.recv()).await.expect("something is handled").unwrap()
}

async fn drain(buses: impl IntoIterator<Item = Bus>) {
    for bus in buses {
        let _drained = bus.drain(PATIENCE).await.unwrap();
    }
}

/// Half of them are cancelled by another process than has scheduled them, at about the time when they fire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_fire_each_schedule_and_each_moment_once() {
    const SCHEDULES: u64 = 200;
    const EVERY: Duration = Duration::from_millis(50);
    const TICKS: usize = 20;
    let Some(database) = Database::fresh() else { return };
    let (log, mut handled) = mpsc::unbounded_channel();
    let start = async || {
        let postgres = Postgres::connect(database.url.as_str()).await.unwrap();
        let mail = Endpoint::new("mail").subscribe::<Remind>().subscribe::<Tick>();
        let every = Recurring::every(EVERY).after_downtime(CatchUp::All);
        let bus = Bus::builder(postgres.clone()).schedules(&postgres).state(log.clone());
        let bus = bus.recurring("tick", every, Tick {}).endpoint(mail.handle(remind).handle(tick));
        bus.start().await.unwrap()
    };
    let buses = [start().await, start().await];
    for n in 0..SCHEDULES {
        let bus = &buses[(n % 2) as usize];
        let scheduled = bus.schedule(n.to_string(), SOON, &Remind { n }).await.unwrap();
        assert_eq!(scheduled, Scheduled::Done);
    }
    let mut expected: BTreeSet<u64> = (0..SCHEDULES).collect();
    for n in (0..SCHEDULES).rev().step_by(2) {
        match buses[((n + 1) % 2) as usize].cancel(&n.to_string()).await.unwrap() {
            Cancelled::Cancelled => _ = expected.remove(&n),
            Cancelled::TooLate => {}
            Cancelled::NotYetKnown => panic!("{n} was scheduled"),
        }
    }
    let (mut reminders, mut moments) = (Vec::new(), Vec::new());
    while reminders.len() < expected.len() || moments.len() < TICKS {
        match next(&mut handled).await {
            Handled::Reminder(n) => reminders.push(n),
            Handled::Tick(moment) => moments.push(moment),
            Handled::Paid => unreachable!("nobody pays"),
        }
    }
    drain(buses).await;
    while let Ok(handled) = handled.try_recv() {
        match handled {
            Handled::Reminder(n) => reminders.push(n),
            Handled::Tick(moment) => moments.push(moment),
            Handled::Paid => unreachable!("nobody pays"),
        }
    }
    reminders.sort_unstable();
    assert_eq!(reminders, expected.into_iter().collect::<Vec<_>>(), "each once");
    moments.sort_unstable();
    let apart = moments.windows(2).map(|two| two[1] - two[0]);
    assert!(apart.clone().all(|apart| apart == EVERY.as_millis() as i64), "{moments:?}");
}

/// Those that are divisible by 3 fail, the even ones are to be reminded soon.
async fn place(order: Placed, planner: Planner, mut tx: Tx<Postgres>) -> Result<(), Failure> {
    let when = if order.n.is_multiple_of(2) { SOON } else { HOUR };
    planner.schedule(format!("reminder:{:02}", order.n), when, &Remind { n: order.n })?;
    if order.n.is_multiple_of(3) {
        return Err(Failure::permanent("out of stock"));
    }
    tx.write("INSERT INTO orders VALUES ($1)", (order.n as i64,))
}

/// Its transaction is of its own.
async fn pay(
    order: Paid,
    planner: Planner,
    mut tx: Tx<Postgres>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    planner.cancel(&format!("reminder:{:02}", order.n))?;
    tramline::postgres::sqlx::query("DELETE FROM orders WHERE n = $1")
        .bind(order.n as i64)
        .execute(tx.connection().await?)
        .await?;
    log.send(Handled::Paid)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_handlers_plan_is_committed_with_what_they_write() {
    const ORDERS: u64 = 60;
    let Some(database) = Database::fresh() else { return };
    database.sql("CREATE TABLE orders (n bigint PRIMARY KEY)");
    let (log, mut handled) = mpsc::unbounded_channel();
    let (dies, mut died) = mpsc::unbounded_channel();
    let start = async || {
        let (postgres, dies) =
            (Postgres::connect(database.url.as_str()).await.unwrap(), dies.clone());
        let orders = Endpoint::new("orders").transactional().handle(place).handle(pay);
        let mail = Endpoint::new("mail").subscribe::<Remind>().handle(remind);
        let bus = Bus::builder(postgres.clone()).store(postgres.clone()).schedules(&postgres);
        let bus =
            bus.state(log.clone()).endpoint(orders).endpoint(mail).on_dead_letter(move |_| {
                let dies = dies.clone();
                async move { dies.send(()).unwrap() }
            });
        bus.start().await.unwrap()
    };
    let buses = [start().await, start().await];
    let placed: Vec<_> = (0..ORDERS).map(|n| Placed { n }).collect();
    assert!(buses[0].send_all("orders", &placed).await.iter().all(Result::is_ok));
    let good = |n: &u64| !n.is_multiple_of(3);
    let soon: Vec<u64> = (0..ORDERS).filter(good).filter(|n| n.is_multiple_of(2)).collect();
    let mut reminded = Vec::new();
    while reminded.len() < soon.len() {
        let Handled::Reminder(n) = next(&mut handled).await else { panic!("nobody pays") };
        reminded.push(n);
    }
    for _ in (0..ORDERS).filter(|n| !good(n)) {
        timeout(PATIENCE, died.recv()).await.unwrap().unwrap();
    }
    let late = || (0..ORDERS).filter(good).filter(|n| !n.is_multiple_of(2));
    let count = (soon.len() + late().count()).to_string();
    timeout(PATIENCE, async {
        while database.sql("SELECT count(*) FROM orders")[0][0].as_ref() != Some(&count) {
            tokio::time::sleep(SOON).await;
        }
    })
    .await
    .expect("all that are good are placed");
    let paid: Vec<_> = late().filter(|n| *n < ORDERS / 2).map(|n| Paid { n }).collect();
    assert!(buses[1].send_all("orders", &paid).await.iter().all(Result::is_ok));
    for _ in &paid {
        assert_eq!(next(&mut handled).await, Handled::Paid);
    }
    drain(buses).await;
    let store = Postgres::connect(database.url.as_str()).await.unwrap();
    let bus = Bus::builder(store.clone()).schedules(&store).start().await.unwrap();
    let waiting = bus.schedules().unwrap().named(None, 100).await.unwrap();
    let waiting: Vec<_> = waiting.into_iter().map(|waiting| waiting.name).collect();
    let not_paid = late().filter(|n| *n >= ORDERS / 2);
    assert_eq!(waiting, not_paid.map(|n| format!("reminder:{n:02}")).collect::<Vec<_>>());
    assert!(handled.try_recv().is_err(), "nobody is reminded twice");
    reminded.sort_unstable();
    assert_eq!(reminded, soon);
}
