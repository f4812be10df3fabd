//! A user of the broker with exactly the permissions that docs/rabbitmq.md lists can do everything, and
//! with one less is told what is missing.

use crate::orders::{Order, QUEUE, raw_send};
use lapin::ExchangeKind;
use lapin::options::{
    BasicGetOptions, BasicNackOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tramline::core::name::QueueRef;
use tramline::rabbitmq::{Exchange, RabbitMq};
use tramline::{Bus, Endpoint, Failure, QueueName, Retry, StartError, State, TopicName};
use tramline_services::testing::{PATIENCE, Raw, User, Vhost};

/// What a service needs that declares its queue `work`, and publishes to and hears of topic `orders`.
const DECLARES: Permissions = Permissions {
    configure: &[r"tramline\..*", "work", "work-dlq", "orders"],
    write: &[r"tramline\..*", "work", "orders", r"amq\.default"],
    read: &[r"tramline\..*", "work", "work-dlq", "orders"],
};

/// What a service needs that uses a queue, its dead letters and an exchange of others as they are.
const JOINS: Permissions = Permissions {
    configure: &[r"tramline\..*"],
    write: &[r"tramline\..*", "theirs", "events", r"amq\.default"],
    read: &[r"tramline\..*", "theirs", "theirs-dead"],
};

#[derive(Clone, Copy, Debug)]
struct Permissions {
    configure: &'static [&'static str],
    write: &'static [&'static str],
    read: &'static [&'static str],
}

/// One with these permissions in `vhost`.
fn user(vhost: &Vhost, Permissions { configure, write, read }: Permissions) -> User<'_> {
    let only = |parts: &[&str]| format!("^({})$", parts.join("|"));
    User::of(vhost, &only(configure), &only(write), &only(read))
}

/// How often each order was handled.
type Runs = Arc<Mutex<HashMap<u64, u32>>>;

/// Order 3 needs a second run, order 4 an operator's help.
async fn handle(order: Order, State(runs): State<Runs>) -> Result<(), Failure> {
    let run = {
        let mut runs = runs.lock();
        let run = runs.entry(order.order).or_default();
        *run += 1;
        *run
    };
    match (order.order, run) {
        (3, 1) => Err(Failure::retryable("later")),
        (4, 1) => Err(Failure::permanent("never")),
        _ => Ok(()),
    }
}

async fn handled(runs: &Runs, order: u64, times: u32) {
    let looked = async {
        while runs.lock().get(&order).copied().unwrap_or_default() < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let late = || panic!("expected order {order} to be handled {times} times: {:?}", runs.lock());
    timeout(PATIENCE, looked).await.unwrap_or_else(|_| late());
}

/// Longer than what is slept in place, so that the retry is a copy that waits in a stage.
const PAUSE: Duration = Duration::from_millis(1_100);

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name).retry(Retry::fixed(PAUSE).runs(2)).handle(handle)
}

async fn declaring(user: &User<'_>, runs: &Runs) -> Result<Bus, StartError> {
    let bus = Bus::connect(user.url().as_str()).await.unwrap();
    bus.state(runs.clone()).endpoint(endpoint(QUEUE).subscribe::<Order>()).start().await
}

#[tokio::test]
async fn who_declares_can_do_everything_with_the_permissions_that_are_listed() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (user, runs) = (user(&vhost, DECLARES), Runs::default());
    let bus = declaring(&user, &runs).await.unwrap();
    bus.publish(&Order { order: 1 }).await.unwrap();
    bus.publish(&Order { order: 2 }).delay(Duration::from_millis(250)).await.unwrap();
    bus.send(QUEUE, &Order { order: 3 }).await.unwrap();
    bus.send(QUEUE, &Order { order: 4 }).delay(Duration::from_millis(50)).await.unwrap();
    for (order, times) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        handled(&runs, order, times).await;
    }
    redriven(&bus, QUEUE, &runs).await;
    let operator = bus.operate().unwrap();
    let queue = QueueName::new(QUEUE).unwrap();
    operator.depth(&queue).await.unwrap();
    assert_eq!(operator.queues().await.unwrap(), vec![queue.clone()]);
    assert_eq!(operator.purge(&QueueRef::Dead(queue.clone())).await.unwrap(), 0);
    assert!(operator.unsubscribe(&queue, &TopicName::new("orders").unwrap()).await.unwrap());
    let _drained = bus.drain(PATIENCE).await.unwrap();

    // What came back too often is marked before it is handled alone.
    let raw = vhost.raw().await;
    raw_send(&raw, "", QUEUE, br#"{"order":5}"#).await;
    for _ in 0..3 {
        return_one(&raw, QUEUE).await;
    }
    let _bus = declaring(&user, &runs).await.unwrap();
    handled(&runs, 5, 1).await;
}

async fn redriven(bus: &Bus, queue: &str, runs: &Runs) {
    let dead = bus.dead_letters(queue).unwrap();
    let redriving = async { while dead.redrive_all().await.unwrap() == 0 {} };
    timeout(PATIENCE, redriving).await.expect("a dead letter");
    handled(runs, 4, 2).await;
    assert_eq!(dead.export(&mut Vec::new()).await.unwrap(), 0);
}

async fn return_one(raw: &Raw, queue: &str) {
    let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    loop {
        let got = raw.channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap();
        if let Some(got) = got {
            got.delivery.acker.nack(requeue).await.unwrap();
            return;
        }
    }
}

/// The topology of somebody else.
async fn theirs(raw: &Raw) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    for queue in ["theirs", "theirs-dead"] {
        let declared = raw.channel.queue_declare(queue.into(), options, FieldTable::default());
        declared.await.unwrap();
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (kind, none) = (ExchangeKind::Fanout, FieldTable::default());
    let declared = raw.channel.exchange_declare("events".into(), kind, options, none.clone());
    declared.await.unwrap();
    let bound = raw.channel.queue_bind(
        "theirs".into(),
        "events".into(),
        "".into(),
        QueueBindOptions::default(),
        none,
    );
    bound.await.unwrap();
}

async fn joining(user: &User<'_>, runs: &Runs) -> Result<Bus, StartError> {
    let broker = RabbitMq::connect(user.url().as_str()).await.unwrap();
    let endpoint = endpoint("theirs")
        .argument("declare", "no")
        .argument("queue-type", "classic")
        .argument("dead-letter-queue", "theirs-dead");
    let bus = Bus::builder(broker.exchange(Exchange::existing("events")));
    bus.state(runs.clone()).endpoint(endpoint).start().await
}

#[tokio::test]
async fn who_joins_can_do_everything_with_the_permissions_that_are_listed() {
    let Some(vhost) = Vhost::fresh() else { return };
    theirs(&vhost.raw().await).await;
    let (user, runs) = (user(&vhost, JOINS), Runs::default());
    let bus = joining(&user, &runs).await.unwrap();
    for order in [1, 3] {
        bus.publish_to_exchange("events", "", &Order { order }).await.unwrap();
    }
    bus.send("theirs", &Order { order: 4 }).await.unwrap();
    for (order, times) in [(1, 1), (3, 2), (4, 1)] {
        handled(&runs, order, times).await;
    }
    redriven(&bus, "theirs", &runs).await;
}

/// A queue that is named by the broker, and its dead letters.
#[tokio::test]
async fn who_has_a_temporary_queue_needs_its_names_besides() {
    const TEMPORARY: Permissions = Permissions {
        configure: &[r"tramline\..*", r"amq\.gen.*", "live-dlq", "orders"],
        write: &[r"tramline\..*", r"amq\.gen.*", "orders", r"amq\.default"],
        read: &[r"tramline\..*", r"amq\.gen.*", "live-dlq", "orders"],
    };
    let Some(vhost) = Vhost::fresh() else { return };
    let (user, runs) = (user(&vhost, TEMPORARY), Runs::default());
    let bus = Bus::connect(user.url().as_str()).await.unwrap().state(runs.clone());
    let live = endpoint("live").temporary().subscribe::<Order>();
    let bus = bus.endpoint(live).start().await.unwrap();
    bus.publish(&Order { order: 3 }).await.unwrap();
    bus.publish(&Order { order: 4 }).await.unwrap();
    handled(&runs, 3, 2).await;
    redriven(&bus, "live", &runs).await;
}

/// One with each permission less.
fn lessened(all: Permissions) -> Vec<(String, Permissions)> {
    let without = |parts: &'static [&'static str], gone: &str| -> &'static [&'static str] {
        parts.iter().copied().filter(|part| *part != gone).collect::<Vec<_>>().leak()
    };
    let configure = all.configure.iter().map(|gone| {
        let configure = without(all.configure, gone);
        (format!("configure {gone}"), Permissions { configure, ..all })
    });
    let write = all.write.iter().map(|gone| {
        (format!("write {gone}"), Permissions { write: without(all.write, gone), ..all })
    });
    let read = all
        .read
        .iter()
        .map(|gone| (format!("read {gone}"), Permissions { read: without(all.read, gone), ..all }));
    configure.chain(write).chain(read).collect()
}

#[tokio::test]
async fn who_declares_with_one_permission_less_is_told_of_it() {
    for (gone, permissions) in lessened(DECLARES) {
        let Some(vhost) = Vhost::fresh() else { return };
        let (user, runs) = (user(&vhost, permissions), Runs::default());
        let used = async {
            let bus = declaring(&user, &runs).await.map_err(|error| error.to_string())?;
            let published = bus.publish(&Order { order: 1 }).await;
            published.map_err(|error| error.to_string())?;
            purged(&bus, QUEUE).await
        };
        assert_missed(&gone, used.await);
    }
}

#[tokio::test]
async fn who_joins_with_one_permission_less_is_told_of_it() {
    for (gone, permissions) in lessened(JOINS) {
        let Some(vhost) = Vhost::fresh() else { return };
        theirs(&vhost.raw().await).await;
        let (user, runs) = (user(&vhost, permissions), Runs::default());
        let used = async {
            let bus = joining(&user, &runs).await.map_err(|error| error.to_string())?;
            let published = bus.publish_to_exchange("events", "", &Order { order: 1 }).await;
            published.map_err(|error| error.to_string())?;
            let sent = bus.send("theirs", &Order { order: 1 }).await;
            sent.map_err(|error| error.to_string())?;
            let delayed = bus.send("theirs", &Order { order: 2 }).delay(Duration::from_millis(50));
            delayed.await.map_err(|error| error.to_string())?;
            purged(&bus, "theirs").await
        };
        assert_missed(&gone, used.await);
    }
}

async fn purged(bus: &Bus, queue: &str) -> Result<(), String> {
    let dead = QueueRef::Dead(QueueName::new(queue).unwrap());
    let purged = bus.operate().unwrap().purge(&dead).await;
    purged.map(drop).map_err(|error| error.to_string())
}

/// What was done without the permission `gone` has failed, and the error says so.
fn assert_missed(gone: &str, used: Result<(), String>) {
    let Err(error) = used else { panic!("nobody has missed the permission to {gone}") };
    let what = gone.split_once(' ').unwrap().1.split('\\').next().unwrap();
    for word in ["ACCESS_REFUSED", what] {
        assert!(error.contains(word), "without the permission to {gone}: {error}");
    }
}
