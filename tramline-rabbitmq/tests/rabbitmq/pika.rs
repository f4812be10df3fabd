//! Python's `pika`, which knows nothing of us, sends to us and reads what we send.

use crate::kit::{PATIENCE, Vhost};
use crate::receiving::{ack, body, declare, next, source};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tramline_core::clock::{Clock, Deadline, SystemClock, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::headers::Headers;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::transport::{Delivery, Destination, Outgoing, Sender, Transport};

/// Sends the body in its second argument, with no properties at all.
const SEND: &str = r#"
import pika, sys
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_publish("", "work", sys.argv[2].encode(), mandatory=True)
connection.close()
"#;

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

/// The Python that has `pika`. `None`, and told, where there is neither it nor a way to get it.
///
/// # Panics
/// … and `cargo xtask test --require all` forbids to pass it over.
async fn python() -> Option<&'static Path> {
    static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    let found =
        PYTHON.get_or_init(|| async { tokio::task::spawn_blocking(install).await.unwrap() });
    match found.await {
        Ok(python) => Some(python),
        Err(why) => {
            let required = std::env::var("TRAMLINE_REQUIRE").unwrap_or_default();
            let required = required.split(',').any(|what| what == "all");
            assert!(!required, "not shown here: {why}, and TRAMLINE_REQUIRE forbids it");
            let _ = writeln!(std::io::stderr(), "not shown here: {why}");
            None
        }
    }
}

fn install() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pika");
    let python = folder.join("bin/python");
    if run(&python, &["-c", "import pika"]).is_err() {
        run(Path::new("python3"), &["-m", "venv", "--clear", folder.to_str().unwrap()])?;
        run(&python, &["-m", "pip", "install", "--quiet", "pika>=1.3,<2"])?;
    }
    Ok(python)
}

fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{arguments:?}: {}", text(&output.stderr))),
    }
}

async fn script(python: &'static Path, script: &'static str, vhost: &Vhost, last: &str) -> String {
    let mut url = vhost.url.clone();
    url.set_query(None);
    let (url, last) = (url.to_string(), last.to_owned());
    let ran = tokio::task::spawn_blocking(move || run(python, &["-c", script, &url, &last]));
    tokio::time::timeout(PATIENCE, ran).await.expect("an end in time").unwrap().unwrap()
}

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
