//! Who may kill the process is handled alone, and the broker remembers how often.

use crate::censor::{Censor, Frame};
use crate::kit::{Connect, PATIENCE, Vhost};
use crate::proxy::Proxy;
use crate::receiving::{ack, body, cut_until_lost, declare, next, send, source};
use crate::topologies::{assert_says, shown};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tramline_core::ErrorKind;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Receiver, Source, Transport};
use tramline_rabbitmq::{RabbitMq, RabbitMqDelivery, RabbitMqReceiver};

/// The class and the method.
const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);

/// A message that came back twice.
async fn suspect(receiver: &mut RabbitMqReceiver) -> RabbitMqDelivery {
    drop(next(receiver).await);
    drop(next(receiver).await);
    let third = next(receiver).await;
    assert_eq!(third.deliveries(), Some(3));
    third
}

/// A process that dies with what it holds.
async fn die(rabbitmq: RabbitMq, receiver: RabbitMqReceiver, held: RabbitMqDelivery) {
    crate::receiving::close(rabbitmq).await;
    drop((receiver, held));
}

#[tokio::test]
async fn a_trial_is_remembered_beyond_the_process_until_the_message_is_settled() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare(&raw, "quorum").await;
    let properties = BasicProperties::default().with_message_id("killer".into());
    send(&raw, &properties, ["0".to_owned()]).await;
    let first = vhost.connect().await;
    let mut receiver = first.receiver(&source(10)).await.unwrap();
    let mut held = suspect(&mut receiver).await;
    assert_eq!(held.marks().trials, 0);
    held.mark_trial().await.unwrap();
    assert_eq!(held.marks().trials, 1);
    die(first, receiver, held).await;

    let second = vhost.connect().await;
    let mut receiver = second.receiver(&source(10)).await.unwrap();
    let mut held = next(&mut receiver).await;
    assert_eq!((held.deliveries(), held.marks().trials), (Some(4), 1));
    held.mark_trial().await.unwrap();
    die(second, receiver, held).await;

    let third = vhost.connect().await;
    let mut receiver = third.receiver(&source(10)).await.unwrap();
    let held = next(&mut receiver).await;
    assert_eq!(held.marks().trials, 2);
    assert_eq!(trials(&vhost), 2);
    ack(held).await;
    assert_eq!(trials(&vhost), 0, "{:?}", vhost.bindings());

    // Redriven, it is not to blame for what it did before.
    send(&raw, &properties, ["0".to_owned()]).await;
    let again = suspect(&mut receiver).await;
    assert_eq!(again.marks().trials, 0);
}

#[tokio::test]
async fn messages_without_ids_are_told_apart() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut killer = suspect(&mut receiver).await;
    killer.mark_trial().await.unwrap();
    drop(killer);
    let killer = next(&mut receiver).await;
    assert_eq!(killer.marks().trials, 1);
    send(&raw, &BasicProperties::default(), ["1".to_owned()]).await;
    let mut other = rabbitmq.receiver(&source(1)).await.unwrap();
    let innocent = suspect(&mut other).await;
    assert_eq!((body(&innocent).as_str(), innocent.marks().trials), ("1", 0));
    ack(innocent).await;
    assert_eq!(trials(&vhost), 1);
    drop((other, killer));
    assert_eq!(next(&mut receiver).await.marks().trials, 1);
}

#[tokio::test]
async fn a_trial_that_was_cut_short_by_a_lost_connection_is_forgotten() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let mut held = suspect(&mut receiver).await;
    held.mark_trial().await.unwrap();
    assert_eq!(trials(&vhost), 1);
    cut_until_lost(&vhost, &held).await;
    drop(held);
    shown("that the trial is forgotten", || (trials(&vhost) == 0).then_some(())).await;
    let again = next(&mut receiver).await;
    assert!(again.deliveries() >= Some(4), "{again:?}");
}

#[tokio::test]
async fn who_gives_a_message_back_has_outlived_its_trial() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let mut dropped = suspect(&mut receiver).await;
    dropped.mark_trial().await.unwrap();
    drop(dropped);
    let mut returned = next(&mut receiver).await;
    returned.mark_trial().await.unwrap();
    assert_eq!((returned.marks().trials, trials(&vhost)), (2, 2));
    returned.settle(Settlement::Return).await.unwrap();
    assert_eq!(next(&mut receiver).await.marks().trials, 1);
}

#[tokio::test]
async fn as_long_as_the_broker_does_not_say_who_was_tried_others_are_handled() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut killer = suspect(&mut receiver).await;
    killer.mark_trial().await.unwrap();
    drop((killer, receiver));
    forbid_to_ask(&vhost, true);
    let patient = RabbitMq::connect(&vhost.url_with("hold_max", "100000")).await.unwrap();
    let mut receiver = patient.receiver(&source(10)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["1".to_owned()]).await;
    let other = next(&mut receiver).await;
    assert_eq!((body(&other).as_str(), other.deliveries()), ("1", Some(1)));
    // Nothing shows that the killer does not come, so this asks for a moment.
    let early = tokio::time::timeout(Duration::from_millis(300), receiver.next()).await;
    assert!(early.is_err(), "it is handled although nobody knows: {early:?}");
    forbid_to_ask(&vhost, false);
    let killer = next(&mut receiver).await;
    assert_eq!((body(&killer).as_str(), killer.marks().trials), ("0", 1));
}

#[tokio::test]
async fn if_the_broker_never_says_who_was_tried_it_is_tried_once_more() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut killer = suspect(&mut receiver).await;
    killer.mark_trial().await.unwrap();
    drop((killer, receiver));
    forbid_to_ask(&vhost, true);
    let hasty = RabbitMq::connect(&vhost.url_with("hold_max", "1")).await.unwrap();
    let mut receiver = hasty.receiver(&source(10)).await.unwrap();
    let mut killer = next(&mut receiver).await;
    assert_eq!((killer.deliveries() >= Some(4), killer.marks().trials), (true, 0));
    killer.mark_trial().await.unwrap();
    assert_eq!(trials(&vhost), 2, "each trial has a mark of its own");
    forbid_to_ask(&vhost, false);
    drop(killer);
    assert_eq!(next(&mut receiver).await.marks().trials, 2);
}

#[tokio::test]
async fn where_deliveries_are_not_counted_the_trials_of_a_copy_count_themselves() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "classic").await;
    let tried = BTreeMap::from([("tramline_trials".into(), AMQPValue::LongInt(1))]);
    let properties = BasicProperties::default().with_headers(FieldTable::from(tried));
    send(&raw, &properties, ["0".to_owned()]).await;
    let mut source: Source = source(10);
    source.spec.arguments.insert("queue-type".to_owned(), "classic".to_owned());
    let mut receiver = rabbitmq.receiver(&source).await.unwrap();
    for trials in 1..4 {
        let mut held = next(&mut receiver).await;
        assert_eq!(held.marks().trials, trials);
        held.mark_trial().await.unwrap();
        assert_eq!(held.marks().trials, trials + 1);
    }
    ack(next(&mut receiver).await).await;
    assert_eq!(trials(&vhost), 0);
}

#[tokio::test]
async fn what_is_remembered_of_a_message_that_vanished_expires() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut held = suspect(&mut receiver).await;
    held.mark_trial().await.unwrap();
    let queues = vhost.get("queues/{vhost}");
    let named = |name: &str| name.starts_with("tramline.trials.");
    let queues = queues.as_array().unwrap().iter();
    let expires: Vec<_> = queues
        .filter(|queue| named(queue["name"].as_str().unwrap()))
        .map(|queue| queue["arguments"]["x-expires"].as_u64().unwrap())
        .collect();
    assert_eq!(expires, [14 * 24 * 3600 * 1000]);
}

/// Who goes through `censor`, and holds a message that is to be handled alone.
async fn suspected_behind(
    censor: &Censor,
    vhost: &Vhost,
) -> (RabbitMq, RabbitMqReceiver, RabbitMqDelivery) {
    let raw = vhost.raw().await;
    declare(&raw, "quorum").await;
    let rabbitmq = RabbitMq::connect(&censor.url).await.unwrap();
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let held = suspect(&mut receiver).await;
    (rabbitmq, receiver, held)
}

#[tokio::test]
async fn a_trial_that_the_broker_does_not_remember_in_time_is_none_and_names_the_queue() {
    let Some(vhost) = Vhost::fresh() else { return };
    let asked = Arc::new(AtomicU32::new(0));
    let censor = Censor::before(&vhost, silent_weeks(asked.clone())).await;
    let (_rabbitmq, mut receiver, mut held) = suspected_behind(&censor, &vhost).await;
    for _ in 0..2 {
        let error = in_time(held.mark_trial()).await.unwrap_err();
        let words = ["queue tramline.trials.", "no leader", "has to be deleted"];
        assert_says(&error, ErrorKind::Unavailable, &words);
        assert_eq!(held.marks().trials, 0);
    }
    assert_eq!(
        asked.load(SeqCst),
        2,
        "of this week's queue and the next, and nobody is held up again"
    );
    // Another connection may be of another member.
    cut_until_lost(&vhost, &held).await;
    drop(held);
    let mut held = next(&mut receiver).await;
    in_time(held.mark_trial()).await.unwrap_err();
    assert_eq!(asked.load(SeqCst), 4);
}

#[tokio::test]
async fn a_trial_is_remembered_although_the_queue_for_that_does_not_answer() {
    let Some(vhost) = Vhost::fresh() else { return };
    let silent = Mutex::new(None);
    let censor = Censor::before(&vhost, move |frame| {
        let Some(name) =
            frame.arguments(QUEUE_DECLARE_OK.0, QUEUE_DECLARE_OK.1).and_then(of_a_week)
        else {
            return vec![frame];
        };
        let is_silent = silent.lock().get_or_insert_with(|| name.to_vec()) == name;
        if is_silent { Vec::new() } else { vec![frame] }
    });
    let (_rabbitmq, mut receiver, mut held) = suspected_behind(&censor.await, &vhost).await;
    in_time(held.mark_trial()).await.unwrap();
    drop(held);
    let held = next(&mut receiver).await;
    assert_eq!(held.marks().trials, 1);
    ack(held).await;
    assert_eq!(trials(&vhost), 0, "{:?}", vhost.bindings());
}

#[tokio::test]
async fn who_waits_for_a_trial_to_be_remembered_hears_that_the_message_is_lost() {
    let Some(vhost) = Vhost::fresh() else { return };
    let asked = Arc::new(AtomicU32::new(0));
    let censor = Censor::before(&vhost, silent_weeks(asked.clone())).await;
    let (rabbitmq, _receiver, mut held) = suspected_behind(&censor, &vhost).await;
    let cut = async {
        shown("the trial is asked for", || (asked.load(SeqCst) > 0).then_some(())).await;
        rabbitmq.cut().await;
    };
    let (marked, ()) = tokio::join!(in_time(held.mark_trial()), cut);
    let error = marked.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["lost"]);
}

#[tokio::test]
async fn what_was_tried_is_done_although_the_broker_does_not_forget_the_trial() {
    /// The class and the method.
    const QUEUE_UNBIND_OK: (u16, u16) = (50, 51);
    let Some(vhost) = Vhost::fresh() else { return };
    let censor = Censor::before(&vhost, |frame| {
        let is_one = frame.arguments(QUEUE_UNBIND_OK.0, QUEUE_UNBIND_OK.1).is_some();
        if is_one { Vec::new() } else { vec![frame] }
    });
    let (_rabbitmq, _receiver, mut held) = suspected_behind(&censor.await, &vhost).await;
    held.mark_trial().await.unwrap();
    assert_eq!(in_time(held.settle(Settlement::Ack)).await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn who_let_go_of_the_transport_does_not_connect_again_for_a_trial_that_was_cut_short() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare(&raw, "quorum").await;
    let proxy = Proxy::before(&vhost).await;
    // Whoever goes on connecting waits for longer than the test does.
    let url = format!("{}&connect_limit=300", proxy.url);
    let rabbitmq = RabbitMq::connect(&url).await.unwrap();
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut held = suspect(&mut receiver).await;
    held.mark_trial().await.unwrap();
    let silent = proxy.replaced().await;
    in_time(held.lost()).await;
    let (mut connecting, _) = in_time(silent.accept()).await.unwrap();
    drop((held, receiver, rabbitmq));
    let mut said = Vec::new();
    in_time(connecting.read_to_end(&mut said)).await.unwrap();
    assert!(said.starts_with(b"AMQP"), "{said:?}");
}

/// As the broker whose answers take long: each is waited for by itself.
#[tokio::test]
async fn however_many_deliveries_there_were_a_slow_broker_says_which_were_trials() {
    const SLOW: Duration = Duration::from_secs(1);
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare(&raw, "quorum").await;
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let rabbitmq = vhost.connect().await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    let mut held = suspect(&mut receiver).await;
    held.mark_trial().await.unwrap();
    for _ in 3..9 {
        drop(held);
        held = next(&mut receiver).await;
    }
    drop((held, receiver));
    let censor = Censor::before(&vhost, |frame| match frame.confirms(&mut 0) {
        Some(_) => vec![frame.late(SLOW)],
        None => vec![frame],
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    let held = next(&mut receiver).await;
    assert_eq!((held.deliveries() >= Some(9), held.marks().trials), (true, 1));
}

#[tokio::test]
async fn no_more_trials_are_asked_for_than_it_takes_to_judge() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare(&raw, "quorum").await;
    let answers = Arc::new(AtomicU32::new(0));
    let counted = answers.clone();
    let censor = Censor::before(&vhost, move |frame| {
        let confirms = frame.confirms(&mut 0).map_or(0, |confirms| confirms.len());
        counted.fetch_add(u32::try_from(confirms).unwrap(), SeqCst);
        vec![frame]
    });
    let rabbitmq = RabbitMq::connect(&censor.await.url).await.unwrap();
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut held = suspect(&mut receiver).await;
    for delivery in 4..8 {
        drop(held);
        held = next(&mut receiver).await;
        assert_eq!(held.deliveries(), Some(delivery));
        if delivery > 4 {
            held.mark_trial().await.unwrap();
        }
    }
    let before = answers.load(SeqCst);
    drop(held);
    assert_eq!(next(&mut receiver).await.marks().trials, Marks::TRIALS_MAX);
    assert_eq!(answers.load(SeqCst) - before, Marks::TRIALS_MAX);
}

/// Keeps it back that the queue of a week is there, and counts how often that was asked.
fn silent_weeks(asked: Arc<AtomicU32>) -> impl Fn(Frame) -> Vec<Frame> + Send + Sync {
    move |frame| {
        let declared = frame.arguments(QUEUE_DECLARE_OK.0, QUEUE_DECLARE_OK.1);
        if declared.and_then(of_a_week).is_none() {
            return vec![frame];
        }
        asked.fetch_add(1, SeqCst);
        Vec::new()
    }
}

/// The name of the queue that is there, if it is one of a week.
fn of_a_week(declared: &[u8]) -> Option<&[u8]> {
    let name = &declared[1..=declared[0] as usize];
    name.starts_with(b"tramline.trials.").then_some(name)
}

async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, awaited).await.expect("it ends in time")
}

/// Who may not publish to the exchange is never answered. For connections that begin after it.
fn forbid_to_ask(vhost: &Vhost, forbids: bool) {
    let write = if forbids { "^(?!tramline.trials$)" } else { ".*" };
    vhost.permit(vhost.url.username(), ".*", write, ".*");
}

fn trials(vhost: &Vhost) -> usize {
    let is_trial = |binding: &&String| binding.starts_with("tramline.trials → ");
    vhost.bindings().iter().filter(is_trial).count()
}
