//! What these tests are written with.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Message;
use tramline_core::clock::{Clock, Deadline, SystemClock, SystemEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::{Composer, Parent, Publishing, Scope};
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::store::{Condition, Sighting, Store};
use tramline_core::topology::{QueueSpec, Rule};
use tramline_core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Ticket, Transport,
};
use tramline_postgres::{Postgres, PostgresReceiver, PostgresTx, sqlx};
use tramline_services::testing::{Database, PATIENCE, Role};

/// The message that is published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) text: String,
}

impl Message for Noted {
    const NAME: &'static str = "notes.taken";
}

pub(crate) fn note(text: &str) -> Noted {
    Noted { text: text.to_owned() }
}

/// A database of the test's own with the tables of the bus and one of numbers; the queue `work` is
/// declared. `None` where there is no server.
pub(crate) async fn opened() -> Option<(Database, Postgres)> {
    let database = Database::fresh()?;
    let postgres = prepared(&database).await;
    Some((database, postgres))
}

/// The same for a database that is empty.
pub(crate) async fn prepared(database: &Database) -> Postgres {
    let postgres = open(database).await;
    database.sql("CREATE TABLE numbers (n bigint PRIMARY KEY)");
    declare(database, QueueSpec::new(name("work")));
    postgres
}

/// The same database as another process has it.
pub(crate) async fn open(database: &Database) -> Postgres {
    Postgres::connect(database.url.as_str()).await.unwrap()
}

/// All rights that are needed to work with the tables of the bus.
pub(crate) fn allow_to_work(database: &Database, role: &Role<'_>) {
    let who = &role.name;
    database.sql(&format!(
        "GRANT USAGE ON SCHEMA tramline TO \"{who}\";
         GRANT ALL ON ALL TABLES IN SCHEMA tramline TO \"{who}\";
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA tramline TO \"{who}\""
    ));
}

pub(crate) fn name(queue: &str) -> QueueName {
    QueueName::new(queue).unwrap()
}

/// As another process would declare a queue.
pub(crate) fn declare(database: &Database, spec: QueueSpec) {
    let json = serde_json::to_string(&spec).unwrap();
    let length_max = spec.length_max.map_or("NULL".to_owned(), |max| max.to_string());
    database.sql(&format!(
        "INSERT INTO tramline.queue (name, spec, ordering, priority_max, length_max, is_unique,
             is_particular)
         VALUES ('{}', '{json}', 0, 0, {length_max}, {}, {});
         UPDATE tramline.topology SET version = version + 1",
        spec.name,
        spec.unique,
        spec.length_max.is_some() || spec.unique
    ));
}

/// Lets a queue have all events of the topic `notes`.
pub(crate) fn subscribe(database: &Database, queue: &str) {
    let rules = serde_json::to_string(&[Rule::subject("#")]).unwrap();
    database.sql(&format!(
        "INSERT INTO tramline.subscription SELECT 'notes', id, '{rules}' FROM tramline.queue
         WHERE name = '{queue}';
         UPDATE tramline.topology SET version = version + 1"
    ));
}

/// Messages of a caller outside of handlers.
pub(crate) fn outside(publishing: Publishing) -> Scope {
    let composer = Composer {
        encoding: Encoding::Json,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    Scope::outside(Arc::new(composer), publishing)
}

/// Messages of a handler of the endpoint `payment`, at work on `parent`.
pub(crate) fn handling(parent: &str) -> Scope {
    let parent = Parent {
        id: id(parent),
        envelope: Arc::new(Envelope::default()),
        endpoint: "payment".into(),
    };
    Scope { parent: Some(parent), ..outside(Publishing::Queues) }
}

pub(crate) async fn begin(postgres: &Postgres, publishing: Publishing) -> PostgresTx {
    postgres.begin(outside(publishing)).await.unwrap()
}

pub(crate) fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

/// Writes a number, which must not be there.
pub(crate) async fn put(tx: &mut PostgresTx, n: i64) {
    let put = sqlx::query("INSERT INTO numbers VALUES ($1)").bind(n);
    put.execute(tx.connection().await.unwrap()).await.unwrap();
}

/// The numbers that were committed.
pub(crate) fn numbers(database: &Database) -> Vec<String> {
    column(database, "SELECT n FROM numbers ORDER BY n")
}

/// The bodies of what stands in a queue, in its order.
pub(crate) fn bodies(database: &Database, queue: &str) -> Vec<String> {
    column(
        database,
        &format!(
            "SELECT convert_from(body, 'UTF8')::json ->> 'text' FROM tramline.message m
             JOIN tramline.queue q ON q.id = m.queue WHERE q.name = '{queue}' ORDER BY place"
        ),
    )
}

/// How many rows the outbox has.
pub(crate) fn appended(database: &Database) -> String {
    column(database, "SELECT count(*) FROM tramline.outbox").remove(0)
}

pub(crate) fn column(database: &Database, sql: &str) -> Vec<String> {
    let rows = database.sql(sql);
    rows.into_iter().map(|mut row| row.remove(0).unwrap_or_default()).collect()
}

/// A message in `work`, and the condition that it is acked.
pub(crate) fn delivered(database: &Database, postgres: &Postgres) -> Condition {
    let placed = database.sql(
        "INSERT INTO tramline.message SELECT id, tramline.new_place(255), 0, 0, 0, 0, 0, 0, NULL, NULL,
             NULL, NULL, NULL, '{}', '{}' FROM tramline.queue WHERE name = 'work'
         RETURNING queue, place",
    );
    let number = |column: usize| placed[0][column].as_ref().unwrap().parse().unwrap();
    Condition::Ack(Ticket {
        database: Store::database(postgres),
        queue: number(0),
        row: number(1),
        token: 0,
        born_here: true,
    })
}

/// The condition that `payment` handles this message for the first time.
pub(crate) fn admit(message: &str) -> Condition {
    let sighting = Sighting::new(&Arc::from("payment"), &id(message), &Envelope::default());
    Condition::Admit(sighting)
}

/// Sends a message of this id to `work`, and says what came of it.
pub(crate) async fn send(postgres: &Postgres, id: &str) -> Sent {
    send_within(postgres, id, PATIENCE).await
}

/// The same, if there is not that much time for it.
pub(crate) async fn send_within(postgres: &Postgres, id: &str, limit: Duration) -> Sent {
    let envelope = Envelope { id: Some(self::id(id)), body: "{}".into(), ..Envelope::default() };
    let to = Destination::Queue(QueueRef::Main(name("work")));
    let outgoing = Outgoing { to, envelope: envelope.into(), due: None, copy: None };
    let deadline = Deadline::after(SystemClock.now(), limit);
    let sent = postgres.sender().await.unwrap().send(&[outgoing], deadline).await;
    sent.into_iter().next().unwrap()
}

/// What must come to its end.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// A receiver of the queue `work`.
pub(crate) async fn receiver(postgres: &Postgres, prefetch: u32) -> PostgresReceiver {
    let source = Source::of(QueueRef::Main(name("work")), prefetch);
    postgres.receiver(&source).await.unwrap()
}

/// Its next message, which must come.
pub(crate) async fn next(receiver: &mut PostgresReceiver) -> impl Delivery + use<> {
    within(receiver.next()).await.unwrap().expect("the receiver has ended")
}

/// Puts messages into `work`.
pub(crate) fn put_messages(database: &Database, count: usize) {
    database.sql(&format!("SELECT tramline.send('work', '{{}}') FROM generate_series(1, {count})"));
}

/// Waits until the database answers something.
pub(crate) async fn until(
    database: &Database,
    sql: &str,
    is_it: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    within(async {
        loop {
            let answered = column(database, sql);
            if is_it(&answered) {
                return answered;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
