//! What the broker refuses costs a channel, and nobody else notices.

use crate::censor::Censor;
use crate::kit::{Connect, Vhost};
use crate::messages::{accepted, answers, main_queue, message, to, to_exchange, to_queue, within};
use crate::receiving::{ack, body, next, source};
use crate::topologies::{queue, spec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::envelope::Envelope;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::Operate;
use tramline_core::transport::{Sender, Sent, Transport};
use tramline_rabbitmq::{RabbitMq, RabbitMqReceiver};

/// How many channels a connection has numbers for.
const NUMBERS: usize = 2_047;
const REFUSALS: usize = 2_200;
/// Between two looks at whether others still send and receive.
const AT_ONCE: usize = 100;

/// The client keeps the numbers of channels that the broker has closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_go_on_however_often_the_broker_refuses_something() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    let sender = broker.sender().await.unwrap();
    for round in 0..REFUSALS / AT_ONCE {
        let missing = |place| to_exchange(&format!("nowhere-{round}-{place}"), "key", "a");
        let batch: Vec<_> = (0..AT_ONCE).map(missing).collect();
        for sent in answers(&sender, &batch).await {
            let Sent::Refused(error) = sent else { panic!("{sent:?}") };
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        goes_on(&broker, &mut receiver, round).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_and_operators_go_on_however_often_the_broker_refuses_something() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    let missing = QueueRef::Main(QueueName::foreign("nowhere"));
    let mut cuts = 0;
    for round in 0..REFUSALS / AT_ONCE {
        for _ in 0..AT_ONCE {
            let error = broker.purge(&missing).await.expect_err("there is no such queue");
            match error.kind() {
                ErrorKind::NotFound => {}
                // The connection was worn out just then, and operators try again themselves.
                ErrorKind::Unavailable => cuts += 1,
                _ => panic!("{error}"),
            }
        }
        goes_on(&broker, &mut receiver, round).await;
    }
    assert!(cuts <= REFUSALS / 1000, "{cuts} refusals were not told");
    // Once through all numbers: those of the last refusals are met again.
    for _ in 0..NUMBERS {
        broker.purge(&QueueRef::Dead(spec().name)).await.unwrap();
    }
}

/// Then it cannot be asked whether what is missing has yet to be declared again.
#[tokio::test]
async fn what_is_missing_is_looked_for_with_pauses_while_no_channel_is_left() {
    const CHANNELS: u16 = 8;
    const LIMIT: Duration = Duration::from_secs(2);
    const LOOKS_MAX: u32 = 10;
    const BASIC_RETURN: (u16, u16) = (60, 50);
    let Some(vhost) = Vhost::fresh() else { return };
    let returns = Arc::new(AtomicU32::new(0));
    let counted = returns.clone();
    let censor = Censor::before(&vhost, move |frame| {
        if frame.arguments(BASIC_RETURN.0, BASIC_RETURN.1).is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        vec![frame.with_channels(CHANNELS)]
    });
    let censor = censor.await;
    let broker = RabbitMq::connect(&censor.url).await.unwrap();
    broker.declare(&queue(spec())).await.unwrap();
    let mut receivers = Vec::new();
    while receivers.len() < usize::from(CHANNELS) {
        match tokio::time::timeout(LIMIT, broker.receiver(&source(1))).await {
            Ok(Ok(receiver)) => receivers.push(receiver),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let sender = broker.sender().await.unwrap();
    let sent = sender.send(&[to_queue("nowhere", "a")], within(LIMIT)).await;
    assert!(!sent[0].is_accepted(), "{sent:?}");
    let looks = returns.load(Ordering::SeqCst);
    assert!((2..=LOOKS_MAX).contains(&looks), "it was looked for {looks} times");
}

async fn goes_on(broker: &RabbitMq, receiver: &mut RabbitMqReceiver, round: usize) {
    let text = round.to_string();
    let envelope = Envelope { body: text.clone().into(), ..message("m") };
    accepted(broker, to(main_queue("work"), envelope)).await;
    loop {
        let delivery = next(receiver).await;
        // What was sent or acked when a worn out connection was closed may come twice.
        let is_it = body(&delivery) == text;
        ack(delivery).await;
        if is_it {
            return;
        }
    }
}
