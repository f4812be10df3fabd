//! Each message is answered by itself, whatever becomes of those beside it.

use crate::censor::Censor;
use crate::kit::{PATIENCE, Vhost};
use crate::messages::{
    accepted, after, answers, declare_quorum, take, take_ids, to_queue, to_topic, within,
};
use crate::proxy::Proxy;
use crate::topologies::{assert_says, shown};
use lapin::options::QueueDeleteOptions;
use parking_lot::Mutex;
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::dead::History;
use tramline_core::health::Health;
use tramline_core::settlement::Marks;
use tramline_core::transport::{CopyOf, Outgoing, Sender, Sent, Transport};
use tramline_rabbitmq::RabbitMq;

const QUEUE: &str = "work";
/// The class and the method.
const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);

#[tokio::test]
async fn what_the_broker_never_answers_keeps_from_no_other_of_its_batch_what_it_said_of_that() {
    /// In the order of the channel: the first of the batch.
    const UNANSWERED: u64 = 2;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let confirmed = Mutex::new(0);
    let censor = Censor::before(&vhost, move |frame| match frame.confirms(&mut confirmed.lock()) {
        Some(confirms) => {
            let others = confirms.into_iter().filter(|(tag, _)| *tag != UNANSWERED);
            others.map(|(_, frame)| frame).collect()
        }
        None => vec![frame],
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "before")).await;
    let batch = ["a", "b", "c"].map(|id| to_queue(QUEUE, id));
    let sender = rabbitmq.sender().await.unwrap();
    match sender.send(&batch, within(Duration::from_secs(3))).await.as_slice() {
        [Sent::Unknown(error), b, c] => {
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            assert!(b.is_accepted() && c.is_accepted(), "{b:?}, {c:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(take_ids(&raw, QUEUE, 4).await, ["before", "a", "b", "c"]);
}

/// Who is told that a message was refused may send it again under another id.
#[tokio::test]
async fn what_may_have_arrived_on_an_earlier_connection_is_not_called_refused() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&proxy.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    take(&raw, QUEUE).await;
    proxy.hold();
    let sender = rabbitmq.sender().await.unwrap();
    let sending = tokio::spawn(async move { answers(&sender, &[to_queue(QUEUE, "a")]).await });
    take(&raw, QUEUE).await;
    raw.channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
    proxy.cut();
    let is_cut = || matches!(rabbitmq.health(), Health::Reconnecting { .. }).then_some(());
    shown("the connection is cut", is_cut).await;
    proxy.pass();
    match sending.await.unwrap().as_slice() {
        [Sent::Unknown(error)] => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stage_that_does_not_answer_holds_up_only_what_is_delayed() {
    let Some(vhost) = Vhost::fresh() else { return };
    declare_quorum(&vhost.raw().await, QUEUE).await;
    const SILENT: &str = "tramline.delay.60s";
    let is_of_a_stage = |arguments: &[u8]| arguments[1..].starts_with(SILENT.as_bytes());
    let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let censor = Censor::before(&vhost, move |frame| {
        match frame.arguments(QUEUE_DECLARE_OK.0, QUEUE_DECLARE_OK.1).is_some_and(is_of_a_stage) {
            true => {
                let _ = tell.send(());
                Vec::new()
            }
            false => vec![frame],
        }
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    let sender = rabbitmq.sender().await.unwrap();
    let pause = |seconds| after(Duration::from_secs(seconds), to_queue(QUEUE, "delayed"));
    let delayed = Outgoing { copy: Some(retry()), ..pause(60) };
    let waiting = tokio::spawn(async move { answers(&sender, &[delayed]).await });
    tokio::time::timeout(PATIENCE, asked.recv()).await.expect("the stage is declared").unwrap();
    // It has to be asked for, too.
    assert_eq!(accepted(&rabbitmq, to_topic("orders", "orders.placed", "a")).await, Some(false));
    assert_eq!(accepted(&rabbitmq, to_queue(QUEUE, "b")).await, Some(true));
    assert!(!waiting.is_finished());
    // Other stages are asked for when that one is given up.
    assert_eq!(accepted(&rabbitmq, Outgoing { copy: Some(retry()), ..pause(1) }).await, None);
    // What is left of its pause leads through another one.
    let sent = waiting.await.unwrap();
    assert!(sent[0].is_accepted(), "{sent:?}");
}

#[tokio::test]
async fn a_stage_that_does_not_answer_is_named() {
    names_what_is_silent("tramline.delay.", "`tramline.delay.60s`").await;
}

#[tokio::test]
async fn what_all_delays_stand_on_is_named_if_it_does_not_answer() {
    names_what_is_silent("tramline.undeliverable", "queue tramline.undeliverable").await;
}

/// Keeps it back that queues whose names begin with `silent` are there.
async fn names_what_is_silent(silent: &'static str, name: &str) {
    /// Longer than they are waited for.
    const LIMIT: Duration = Duration::from_secs(12);
    let Some(vhost) = Vhost::fresh() else { return };
    declare_quorum(&vhost.raw().await, QUEUE).await;
    let is_silent = move |arguments: &[u8]| arguments[1..].starts_with(silent.as_bytes());
    let censor = Censor::before(&vhost, move |frame| {
        let is_one = frame.arguments(QUEUE_DECLARE_OK.0, QUEUE_DECLARE_OK.1);
        if is_one.is_some_and(is_silent) { Vec::new() } else { vec![frame] }
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    let sender = rabbitmq.sender().await.unwrap();
    let delayed = after(Duration::from_secs(60), to_queue(QUEUE, "delayed"));
    let delayed = Outgoing { copy: Some(retry()), ..delayed };
    match sender.send(&[delayed], within(LIMIT)).await.as_slice() {
        [Sent::Refused(error)] => {
            assert_says(error, ErrorKind::Unavailable, &["queue work", name, "no leader"]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stage_that_does_not_confirm_is_named() {
    let Some(vhost) = Vhost::fresh() else { return };
    declare_quorum(&vhost.raw().await, QUEUE).await;
    let censor = Censor::before(&vhost, |frame| match frame.confirms(&mut 0) {
        Some(_) => Vec::new(),
        None => vec![frame],
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    let sender = rabbitmq.sender().await.unwrap();
    let delayed = after(Duration::from_secs(60), to_queue(QUEUE, "delayed"));
    let delayed = Outgoing { copy: Some(retry()), ..delayed };
    match sender.send(&[delayed], within(Duration::from_secs(5))).await.as_slice() {
        [Sent::Unknown(error)] => {
            assert_says(error, ErrorKind::TimedOut, &["queue work", "`tramline.delay.60s`"]);
        }
        other => panic!("{other:?}"),
    }
}

fn retry() -> CopyOf {
    CopyOf::Retry { failures: 1, history: History::new(), marks: Marks::default() }
}
