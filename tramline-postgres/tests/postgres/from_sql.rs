//! Messages from plain SQL.

use crate::kit::{appended, bodies, column, opened};
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::headers::HeaderValue;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::store::{OutboxRow, Store};
use tramline_core::transport::Destination;
use tramline_postgres::Postgres;
use tramline_postgres::sqlx;

async fn claimed(postgres: &Postgres, now: Timestamp) -> Vec<OutboxRow> {
    postgres.outbox().claim(10, Duration::from_secs(60), now).await.unwrap()
}

fn now() -> Timestamp {
    tramline_core::clock::Clock::now(&tramline_core::clock::SystemClock)
}

fn with_header<'e>(envelope: &'e Envelope, name: &str) -> Option<&'e HeaderValue> {
    envelope.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[tokio::test]
async fn an_event_from_sql_is_claimed_with_all_that_it_says() {
    let Some((database, postgres)) = opened().await else { return };
    let id = column(
        &database,
        r#"SELECT tramline.publish('orders.placed', '{"total": 1000.10}', key => 'customer 7',
             ttl => '1 hour', priority => 3, headers => '{"text": "a \"b\"", "int": -42, "true": true,
             "decimal": 12.50, "big": 123456789012345678901, "list": [1], "none": null}')"#,
    );
    let rows = claimed(&postgres, now()).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let name = TopicName::new("orders").unwrap();
    let to = Destination::Topic { name, subject: "orders.placed".into() };
    assert_eq!(row.outgoing.to, to);
    let envelope = &row.outgoing.envelope;
    assert_eq!(envelope.id.as_ref().map(ToString::to_string).as_ref(), id.first());
    assert_eq!(envelope.name.as_deref(), Some("orders.placed"));
    assert_eq!(envelope.content_type.as_deref(), Some("application/json"));
    assert_eq!(envelope.key.as_deref(), Some("customer 7"));
    assert_eq!((envelope.version, envelope.priority), (1, Some(3)));
    let (sent_at, expires_at) = (envelope.sent_at.unwrap(), envelope.expires_at.unwrap());
    assert_eq!(expires_at, sent_at.after(Duration::from_secs(3600)));
    let via = envelope.via.as_ref().unwrap();
    assert_eq!((via.topic.as_str(), &*via.subject), ("orders", "orders.placed"));
    assert_eq!(&envelope.body[..], br#"{"total": 1000.10}"#);
    let text = |text: &str| Some(HeaderValue::Text(text.to_owned()));
    for (name, expected) in [
        ("text", text("a \"b\"")),
        ("int", Some(HeaderValue::Int(-42))),
        ("true", Some(HeaderValue::Bool(true))),
        ("decimal", text("12.50")),
        ("big", text("123456789012345678901")),
        ("list", text("[1]")),
        ("none", None),
    ] {
        assert_eq!(with_header(envelope, name), expected.as_ref(), "{name}");
    }
}

#[tokio::test]
async fn a_command_from_sql_stands_in_its_queue_or_goes_through_the_outbox() {
    let Some((database, postgres)) = opened().await else { return };
    let here =
        r#"SELECT tramline.send('work', '{"text": "a"}'), tramline.send('work', '{"text": "b"}')"#;
    database.sql(here);
    assert_eq!(bodies(&database, "work"), ["a", "b"]);
    database.sql(r#"SELECT tramline.send('elsewhere', '{"text": "c"}', delay => '1 hour')"#);
    assert_eq!(claimed(&postgres, now()).await, [], "it is not due");
    let rows = claimed(&postgres, now().after(Duration::from_secs(3601))).await;
    let elsewhere = Destination::Queue(QueueRef::Main(QueueName::new("elsewhere").unwrap()));
    assert_eq!(rows.iter().map(|row| &row.outgoing.to).collect::<Vec<_>>(), [&elsewhere]);
}

#[tokio::test]
async fn what_no_program_could_read_is_refused_and_what_is_rolled_back_is_not_sent() {
    let Some((database, postgres)) = opened().await else { return };
    for bad in [
        "tramline.publish('a.b', '{}', priority => 256)",
        "tramline.publish('a.b', '{}', id => '')",
        "tramline.publish('', '{}')",
        "tramline.send('work', '{}', id => repeat('x', 129))",
    ] {
        let asked = sqlx::AssertSqlSafe(format!("SELECT {bad}"));
        let refused = sqlx::raw_sql(asked).execute(postgres.pool()).await.unwrap_err().to_string();
        assert!(refused.contains("failed to send"), "{bad}: {refused}");
    }
    database
        .sql("BEGIN; SELECT tramline.publish('a.b', '{}'), tramline.send('work', '{}'); ROLLBACK");
    assert_eq!((appended(&database), bodies(&database, "work")), ("0".into(), Vec::new()));
}

/// Somebody has written there by hand.
#[tokio::test]
async fn rows_that_cannot_be_read_wait_for_an_operator_and_the_others_go_on() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql(
        "SELECT tramline.append(ARRAY[NULL], ARRAY[NULL]::bigint[], ARRAY['nonsense'], ARRAY['{}'],
             ARRAY['']::bytea[]);
         SELECT tramline.publish('a.b', '{}')",
    );
    let rows = claimed(&postgres, now()).await;
    assert_eq!(rows.len(), 1);
    let parked = postgres.outbox().parked(None, 10).await.unwrap();
    assert_eq!((parked.len(), parked[0].outgoing.is_none()), (1, true));
    assert!(parked[0].error.contains("failed to read row"), "{}", parked[0].error);
    assert_eq!(postgres.outbox().depth().await.unwrap(), (1, 1));
}
