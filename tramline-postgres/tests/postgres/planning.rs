//! Schedules that are changed in the transactions of handlers, and what is refused.

use crate::kit::{
    admit, begin, bodies, column, delivered, id, name, numbers, open, opened, put, send, within,
};
use std::sync::Arc;
use tramline_core::ErrorKind;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Publishing;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::store::{
    Change, CommitError, Committed, Condition, Plan, Planned, RecurringRow, Refusal, ScheduleKey,
    Schedules, Store,
};
use tramline_core::transport::{Destination, Outgoing};
use tramline_postgres::sqlx;
use tramline_services::testing::Database;

/// Scenarios tell the time themselves.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + seconds * 1000)
}

/// Goes to the queue `work`.
pub(crate) fn outgoing(text: &str) -> Outgoing {
    let body = format!("{{\"text\":\"{text}\"}}").into();
    let envelope = Envelope { id: Some(id(text)), body, ..Envelope::default() };
    let to = Destination::Queue(QueueRef::Main(name("work")));
    Outgoing { to, envelope: envelope.into(), due: None, copy: None }
}

pub(crate) fn schedule(name: &str, token: i64, due: i64) -> Plan {
    let outgoing = outgoing(&format!("{name} {token}"));
    let change = Change::Put { token, due: at(due), outgoing, anew: false };
    Plan { name: name.to_owned(), now: at(0), change }
}

pub(crate) fn cancel(name: &str) -> Plan {
    Plan { name: name.to_owned(), now: at(0), change: Change::Cancel }
}

pub(crate) fn due(name: &str, token: i64) -> Condition {
    Condition::Due { key: ScheduleKey { name: name.to_owned(), token }, now: at(10) }
}

/// Name, token and state of each.
fn rows(database: &Database) -> Vec<String> {
    column(
        database,
        "SELECT name || ' ' || token || ' ' || state FROM tramline.schedule ORDER BY 1",
    )
}

#[tokio::test]
async fn plans_are_kept_with_the_rest_of_a_unit_or_not_at_all() {
    let Some((database, postgres)) = opened().await else { return };
    Schedules::plan(&postgres, vec![schedule("a", 1, 10)]).await.unwrap();
    let plans = || [cancel("a"), schedule("b", 2, 10)].map(Condition::Plan);
    for has_connection in [true, false] {
        let Condition::Ack(mut ticket) = delivered(&database, &postgres) else { unreachable!() };
        ticket.token += 1;
        let lost = Condition::Ack(ticket);
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if has_connection {
            put(&mut tx, 1).await;
        }
        let conditions = plans().into_iter().chain([lost]).collect();
        let committed = postgres.commit(tx, conditions, Vec::new()).await.unwrap();
        assert_eq!(committed, Committed::Refused(vec![(2, Refusal::LeaseLost)]));

        let mut tx = begin(&postgres, Publishing::Queues).await;
        if has_connection {
            put(&mut tx, 1).await;
        }
        tx.write("INSERT INTO numbers SELECT 1 / $1::int", (0,)).unwrap();
        postgres.commit(tx, plans().into(), Vec::new()).await.unwrap_err();
        assert_eq!(rows(&database), ["a 1 0"]);

        let mut tx = begin(&postgres, Publishing::Queues).await;
        if has_connection {
            put(&mut tx, 1).await;
        }
        tx.write("INSERT INTO numbers VALUES ($1)", (2_i64,)).unwrap();
        let ack = delivered(&database, &postgres);
        let conditions = [ack, admit("m")].into_iter().chain(plans()).collect();
        assert_eq!(postgres.commit(tx, conditions, Vec::new()).await.unwrap(), Committed::Done);
        assert_eq!(rows(&database), ["a 1 2", "b 2 0"]);
        database.sql(
            "UPDATE tramline.schedule SET state = 0; DELETE FROM tramline.schedule WHERE name = 'b';
             DELETE FROM numbers; DELETE FROM tramline.inbox",
        );
    }
}

/// What such a handler has committed is his; what was to be committed with it is not.
#[tokio::test]
async fn a_handler_that_ends_its_transaction_itself_plans_and_fires_nothing() {
    let Some((database, postgres)) = opened().await else { return };
    Schedules::plan(&postgres, vec![schedule("a", 1, 10)]).await.unwrap();
    for sql in ["COMMIT", "ROLLBACK; BEGIN"] {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        sqlx::raw_sql(sql).execute(tx.connection().await.unwrap()).await.unwrap();
        let conditions = vec![due("a", 1), Condition::Plan(schedule("b", 2, 10))];
        let error = postgres.commit(tx, conditions, Vec::new()).await.unwrap_err();
        assert!(matches!(error, CommitError::Handler(_)), "{error}");
    }
    let refused =
        "SELECT tramline.conclude_schedules(false, '{1}', '{a}', '{0}', '{0}', '{0}', '{NULL}',
         '{NULL}', '{NULL}', '{false}')";
    let error = sqlx::raw_sql(refused).execute(postgres.pool()).await.unwrap_err();
    assert!(error.to_string().contains("ended inside of it"), "{error}");
    assert_eq!(rows(&database), ["a 1 0"]);
}

#[tokio::test]
async fn whatever_refuses_a_unit_is_told_by_its_index() {
    let Some((database, postgres)) = opened().await else { return };
    Schedules::plan(&postgres, vec![schedule("a", 1, 10), schedule("b", 2, 10)]).await.unwrap();
    let row = RecurringRow {
        name: "r".to_owned(),
        token: 1,
        rhythm: "daily".into(),
        due: at(10),
        is_paused: false,
    };
    let tick = Condition::Tick { row, next: at(20) };
    let admitted =
        postgres.commit(begin(&postgres, Publishing::Queues).await, vec![admit("m")], Vec::new());
    assert_eq!(admitted.await.unwrap(), Committed::Done);
    for has_connection in [true, false] {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if has_connection {
            put(&mut tx, 1).await;
        }
        let conditions =
            vec![due("b", 2), due("a", 2), Condition::Plan(cancel("c")), admit("m"), tick.clone()];
        let committed = postgres.commit(tx, conditions, vec![outgoing("late")]).await.unwrap();
        let (changed, duplicate) = (Refusal::Changed, Refusal::Duplicate);
        let expected = vec![(1, changed), (3, duplicate), (4, changed)];
        assert_eq!(committed, Committed::Refused(expected));
    }
    assert_eq!(rows(&database), ["a 1 0", "b 2 0"]);
    assert_eq!((numbers(&database), bodies(&database, "work")), (Vec::new(), Vec::new()));
}

/// Some of those that end together are refused, and the others are not.
#[tokio::test]
async fn of_units_that_fire_the_same_together_one_does_and_the_others_are_told() {
    const UNITS: usize = 40;
    let Some((database, postgres)) = opened().await else { return };
    // Those whose queue is not known yet end alone.
    assert!(send(&postgres, "first").await.is_accepted());
    database.sql("DELETE FROM tramline.message");
    let postgres = Arc::new(postgres);
    let names: Vec<String> = (0..UNITS / 4).map(|n| n.to_string()).collect();
    let plans = names.iter().map(|name| schedule(name, 1, 10)).collect();
    Schedules::plan(&*postgres, plans).await.unwrap();
    let committing = (0..UNITS).map(|unit| {
        let (postgres, name) = (postgres.clone(), names[unit % names.len()].clone());
        tokio::spawn(async move {
            let mut tx = begin(&postgres, Publishing::Queues).await;
            tx.write("INSERT INTO numbers VALUES ($1)", (unit as i64,)).unwrap();
            let message = outgoing(&name);
            postgres.commit(tx, vec![due(&name, 1)], vec![message]).await.unwrap()
        })
    });
    let committing: Vec<_> = committing.collect();
    let mut done = 0;
    for committed in committing {
        match within(committed).await.unwrap() {
            Committed::Done => done += 1,
            refused => assert_eq!(refused, Committed::Refused(vec![(0, Refusal::Changed)])),
        }
    }
    assert_eq!((done, numbers(&database).len()), (names.len(), names.len()));
    let mut sent = bodies(&database, "work");
    sent.sort();
    assert_eq!(sent, names, "each has left once");
}

#[tokio::test]
async fn a_nul_in_a_name_or_a_rhythm_is_refused_and_nothing_with_it_is_planned() {
    let Some((database, postgres)) = opened().await else { return };
    let rhythm = Change::Recur { token: 1, rhythm: "a\0".to_owned(), due: at(10) };
    let rhythm = Plan { name: "r".to_owned(), now: at(0), change: rhythm };
    for bad in [schedule("a\0", 1, 10), cancel("a\0"), rhythm] {
        let error = Schedules::plan(&postgres, vec![schedule("b", 2, 10), bad.clone()]).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Refused);
        for has_connection in [true, false] {
            let mut tx = begin(&postgres, Publishing::Queues).await;
            if has_connection {
                put(&mut tx, 1).await;
            }
            let plans = [schedule("b", 2, 10), bad.clone()].map(Condition::Plan).into();
            let error = postgres.commit(tx, plans, Vec::new()).await.unwrap_err();
            let CommitError::Handler(failure) = error else { panic!("{error}") };
            assert!(failure.is_permanent() && failure.to_string().contains("NUL"), "{failure}");
        }
    }
    assert_eq!((rows(&database), numbers(&database)), (Vec::new(), Vec::new()));
}

/// Other brokers may have what it cannot keep; and it would be due again and again.
#[tokio::test]
async fn a_message_that_cannot_be_kept_is_refused_before_it_is_due() {
    let Some((_database, postgres)) = opened().await else { return };
    let mut plan = schedule("a", 1, 10);
    if let Change::Put { outgoing, .. } = &mut plan.change {
        let envelope = Arc::make_mut(&mut outgoing.envelope);
        envelope.key = Some("a\0".into());
    }
    let refused = Schedules::plan(&postgres, vec![plan]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
}

/// Whatever the database has as its order.
#[tokio::test]
async fn names_are_listed_in_the_order_of_their_bytes() {
    let Some((database, postgres)) = opened().await else { return };
    let other = open(&database).await;
    let names = ["B", "a", "a\u{1}", "a\u{1}b", "a b", "b", "ä", "😀"];
    let mut plans: Vec<_> = names.iter().map(|name| schedule(name, 1, 10)).collect();
    plans.reverse();
    assert_eq!(Schedules::plan(&postgres, plans).await.unwrap(), [Planned::Done; 8]);
    let listed = async |after: Option<&str>| {
        let waiting = other.waiting(after, 100).await.unwrap();
        waiting.into_iter().map(|waiting| waiting.name).collect::<Vec<_>>()
    };
    assert_eq!(listed(None).await, names);
    assert_eq!(listed(Some("a\u{1}b")).await, names[4..]);
    assert_eq!(listed(Some("a\0b")).await, names[2..], "no name has a NUL");
}
