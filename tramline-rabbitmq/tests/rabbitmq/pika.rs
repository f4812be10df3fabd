//! Python's `pika`, which knows nothing of us, sends to us and reads what we send.

use crate::kit::{Connect, PATIENCE, Vhost};
use crate::receiving::{ack, body, declare, next, source};
use serde_json::{Value, json};
use std::sync::Arc;
use tramline_core::clock::{Clock, Deadline, SystemClock, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::headers::Headers;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::transport::{Delivery, Destination, Outgoing, Sender, Transport};
use tramline_services::testing::{SEND, python, script};

/// Takes one message, and prints all that is to be seen of it.
const TAKE: &str = r#"
import json, pika, sys
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
method, properties, body = channel.basic_get("work", auto_ack=True)
# A quorum queue counts deliveries.
properties.headers.pop("x-delivery-count", None)
print(json.dumps({
    "body": body.decode(), "headers": properties.headers, "type": properties.type,
    "content_type": properties.content_type, "delivery_mode": properties.delivery_mode,
    "message_id": properties.message_id, "timestamp": properties.timestamp,
    "correlation_id": properties.correlation_id,
}))
connection.close()
"#;

#[tokio::test]
async fn what_pika_sends_without_any_header_is_taken() {
    let Some(vhost) = Vhost::fresh() else { return };
    let Some(python) = python().await else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    script(python, SEND, &vhost, r#"{"order": 7}"#).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let delivery = next(&mut receiver).await;
    let envelope = delivery.envelope();
    assert_eq!(body(&delivery), r#"{"order": 7}"#);
    assert_eq!((&envelope.id, &envelope.name, &envelope.via), (&None, &None, &None));
    assert_eq!((&envelope.headers, delivery.failures()), (&Headers::new(), 0));
    ack(delivery).await;
}

#[tokio::test]
async fn pika_reads_what_is_sent_here() {
    let Some(vhost) = Vhost::fresh() else { return };
    let Some(python) = python().await else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let envelope = Envelope {
        id: Some("order-7".parse().unwrap()),
        name: Some("order.placed".into()),
        content_type: Some("application/json".into()),
        sent_at: Some(Timestamp::from_millis(1_700_000_000_250)),
        correlation_id: Some("shop-1".to_owned()),
        headers: Headers::from_iter([("tenant", "eu")]),
        body: bytes::Bytes::from_static(br#"{"order": 7}"#),
        ..Envelope::default()
    };
    let outgoing = Outgoing {
        to: Destination::Queue(QueueRef::Main(QueueName::new("work").unwrap())),
        envelope: Arc::new(envelope),
        due: None,
        copy: None,
    };
    let sender = rabbitmq.sender().await.unwrap();
    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    let sent = sender.send(&[outgoing], deadline).await;
    assert!(sent[0].is_accepted(), "{sent:?}");
    let read: Value = serde_json::from_str(&script(python, TAKE, &vhost, "").await).unwrap();
    let expected = json!({
        "body": r#"{"order": 7}"#, "content_type": "application/json", "delivery_mode": 2,
        "message_id": "order-7", "type": "order.placed", "timestamp": 1_700_000_000,
        "correlation_id": "shop-1",
        "headers": { "tenant": "eu", "tramline_sent_at": 1_700_000_000_250_i64 },
    });
    assert_eq!(read, expected);
}
