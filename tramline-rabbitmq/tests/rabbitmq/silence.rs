//! A broker that confirms nothing is waited for as long as it reads, and not for ever else.

use crate::censor::{Censor, Frame};
use crate::kit::{PATIENCE, Vhost};
use crate::messages::{
    accepted, declare_quorum, main_queue, message, take_ids, to, to_queue, within,
};
use crate::proxy::Proxy;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tramline_core::envelope::Envelope;
use tramline_core::transport::{Sender, Sent, Transport};
use tramline_rabbitmq::RabbitMq;

const QUEUE: &str = "work";
/// For what takes longer than a silent broker is waited for.
const LONG: Duration = Duration::from_secs(120);

// Methods of the broker's.
const CONNECTION_START: (u16, u16) = (10, 10);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);

fn is(frame: &Frame, (class, method): (u16, u16)) -> bool {
    frame.arguments(class, method).is_some()
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_confirmed_stays_while_the_broker_reads() {
    /// In this time it would be made again, if the broker did not read.
    const QUESTIONS: usize = 5;
    let Some(vhost) = Vhost::fresh() else { return };
    declare_quorum(&vhost.raw().await, QUEUE).await;
    let (is_silent, connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (tell, mut asked) = mpsc::unbounded_channel();
    let (silent, connections) = (is_silent.clone(), connected.clone());
    let censor = Censor::before(&vhost, move |frame| {
        if is(&frame, CONNECTION_START) {
            connections.fetch_add(1, Ordering::SeqCst);
        }
        let is_silent = silent.load(Ordering::SeqCst);
        if is_silent && is(&frame, CHANNEL_OPEN_OK) {
            let _ = tell.send(());
        }
        if is_silent && frame.confirms(&mut 0).is_some() { Vec::new() } else { vec![frame] }
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    is_silent.store(true, Ordering::SeqCst);
    let sender = rabbitmq.sender().await.unwrap();
    let sending =
        tokio::spawn(async move { sender.send(&[to_queue(QUEUE, "a")], within(LONG)).await });
    for _ in 0..QUESTIONS {
        tokio::time::timeout(PATIENCE, asked.recv()).await.expect("it is asked").unwrap();
    }
    assert!(!sending.is_finished());
    is_silent.store(false, Ordering::SeqCst);
    accepted(&rabbitmq, to_queue(QUEUE, "b")).await;
    assert_eq!(connected.load(Ordering::SeqCst), 2, "one that publishes, one that consumes");
}

#[tokio::test]
async fn a_connection_that_the_broker_does_not_read_from_is_made_again() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let is_silent = Arc::new(AtomicBool::new(false));
    let silent = is_silent.clone();
    let censor = Censor::before(&vhost, move |frame| {
        if is(&frame, CONNECTION_START) {
            silent.store(false, Ordering::SeqCst);
        }
        let passes = !silent.load(Ordering::SeqCst) || frame.is_heartbeat();
        if passes { vec![frame] } else { Vec::new() }
    });
    let censor = censor.await;
    let rabbitmq = RabbitMq::connect(&censor.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    take_ids(&raw, QUEUE, 1).await;
    is_silent.store(true, Ordering::SeqCst);
    let sender = rabbitmq.sender().await.unwrap();
    let batch = ["a", "b", "c"].map(|id| to_queue(QUEUE, id));
    let sent = sender.send(&batch, within(LONG)).await;
    assert!(sent.iter().all(Sent::is_accepted), "{sent:?}");
    // Once from each connection.
    assert_eq!(take_ids(&raw, QUEUE, 6).await, ["a", "b", "c", "a", "b", "c"]);
    assert!(!is_silent.load(Ordering::SeqCst), "there was another connection");
}

#[tokio::test]
async fn a_large_message_has_the_time_that_a_slow_line_needs() {
    const BYTES: usize = 2 * 1024 * 1024;
    /// The line takes longer for the message than a silent broker is waited for.
    const BYTES_PER_SECOND: usize = 80 * 1024;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&proxy.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    proxy.slow_down(BYTES_PER_SECOND);
    let large = Envelope { body: vec![b'x'; BYTES].into(), ..message("large") };
    let sender = rabbitmq.sender().await.unwrap();
    let sent = sender.send(&[to(main_queue(QUEUE), large)], within(LONG)).await;
    assert!(sent[0].is_accepted(), "{sent:?}");
    assert_eq!(proxy.connections(), 2, "one that publishes, one that consumes");
    assert_eq!(take_ids(&raw, QUEUE, 2).await, ["first", "large"]);
}
