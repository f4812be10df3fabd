//! What operators see and do on a real broker.

use crate::kit::{Connect, PATIENCE, Raw, Vhost};
use crate::messages::{message, to, to_queue, within};
use crate::receiving::source;
use crate::topologies::{QUEUE, assert_says, queue, raw_queue, spec, with};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions};
use lapin::types::FieldTable;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::dead::{FailureNote, History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{DeadVisitor, Figure, Operate, Peeked, Redrive};
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{CopyOf, Destination, Outgoing, Receiver, Sender, Sent, Transport};
use tramline_core::{BoxFuture, Error, ErrorKind};
use tramline_rabbitmq::RabbitMq;

fn work() -> QueueName {
    QueueName::foreign(QUEUE)
}

fn main_ref() -> QueueRef {
    QueueRef::Main(work())
}

fn dead_ref() -> QueueRef {
    QueueRef::Dead(work())
}

fn classic() -> QueueSpec {
    with([("queue-type", "classic")])
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number:04}")).collect()
}

async fn send_all(broker: &RabbitMq, batch: &[Outgoing]) {
    let answers = broker.sender().await.unwrap().send(batch, within(PATIENCE)).await;
    let refused: Vec<&Sent> = answers.iter().filter(|sent| !sent.is_accepted()).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Dead letters as the engine makes them.
async fn kill(broker: &RabbitMq, ids: &[String]) {
    let letters: Vec<Outgoing> = ids.iter().map(|id| dead_letter(id)).collect();
    send_all(broker, &letters).await;
}

fn dead_letter(id: &str) -> Outgoing {
    let mut history = History::new();
    let error = "the card was declined".to_owned();
    history.push(FailureNote { at: SystemClock.now(), failure: 1, error });
    let copy = CopyOf::DeadLetter { reason: Reason::Exhausted, failures: 1, history };
    let letter = to(Destination::Queue(dead_ref()), message(id));
    Outgoing { copy: Some(copy), ..letter }
}

/// The ids of everything that is in a queue, which is empty then.
async fn drained(raw: &Raw, queue: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(got) = raw.channel.basic_get(queue.into(), options).await.unwrap() {
        let id = got.delivery.properties.message_id().as_ref();
        ids.push(id.map(ToString::to_string).unwrap_or_default());
    }
    ids
}

/// Tells the first place that differs.
fn assert_ids(found: &[String], expected: &[String]) {
    let place = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let place = place.unwrap_or(found.len().min(expected.len()));
    let around = |ids: &[String]| ids.iter().skip(place).take(8).cloned().collect::<Vec<_>>();
    let (found, expected) = ((found.len(), around(found)), (expected.len(), around(expected)));
    assert_eq!(found, expected, "how many, and those from place {place} on");
}

async fn peeked(broker: &RabbitMq, queue: &QueueRef, after: Option<i64>) -> Vec<String> {
    let peeked = broker.peek(queue, after, 2_000).await.unwrap();
    peeked.iter().map(|peeked| peeked.envelope.id.as_ref().unwrap().to_string()).collect()
}

/// A quorum queue mixes up what comes back together if it is much.
#[tokio::test]
async fn however_many_are_looked_at_they_go_back_in_their_order() {
    for spec in [spec(), classic()] {
        let Some(vhost) = Vhost::fresh() else { return };
        let broker = vhost.connect().await;
        broker.declare(&queue(spec)).await.unwrap();
        let ids = ids(1_300);
        let batch: Vec<Outgoing> = ids.iter().map(|id| to_queue(QUEUE, id)).collect();
        send_all(&broker, &batch).await;
        for _ in 0..2 {
            let looked = broker.peek(&main_ref(), None, 1_100).await.unwrap();
            assert_eq!((looked.len(), looked[1_099].position), (1_100, 1_100));
        }
        assert_ids(&peeked(&broker, &main_ref(), Some(1_250)).await, &ids[1_250..]);
        let last = ids[1_299].parse().unwrap();
        let found = broker.find(&main_ref(), &last).await.unwrap().unwrap();
        assert_eq!(found.position, 1_300);
        assert_ids(&drained(&vhost.raw().await, QUEUE).await, &ids);
    }
}

#[tokio::test]
async fn all_dead_letters_are_shown_and_go_back_in_their_order() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    let ids = ids(3_000);
    kill(&broker, &ids).await;
    for _ in 0..2 {
        let mut reader = Reader::default();
        assert_eq!(broker.visit_dead(&work(), &mut reader).await.unwrap(), 3_000);
        assert_ids(&reader.ids, &ids);
        assert!(reader.page_max <= 500, "{}", reader.page_max);
        assert_eq!(reader.places, (1..=3_000).collect::<Vec<_>>());
    }
    // Who gives up in the middle leaves them as they were, too.
    let mut reader = Reader { pages_left: 5, ..Reader::default() };
    let error = broker.visit_dead(&work(), &mut reader).await.unwrap_err();
    assert_says(&error, ErrorKind::Full, &["write a page"]);
    assert!(reader.ids.len() < 3_000);
    assert_ids(&drained(&vhost.raw().await, "work-dlq").await, &ids);
}

/// The broker takes back what is held for too long, and mixes it up.
#[tokio::test]
async fn a_visitor_that_takes_too_long_is_stopped_and_told_why() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = RabbitMq::connect(&vhost.url_with("hold_max", "1")).await.unwrap();
    broker.declare(&queue(spec())).await.unwrap();
    let ids = ids(100);
    kill(&broker, &ids).await;
    let error = broker.visit_dead(&work(), &mut Sleeper).await.unwrap_err();
    assert_says(&error, ErrorKind::TimedOut, &[QUEUE, "hold_max"]);
    assert_ids(&peeked(&broker, &dead_ref(), None).await, &ids);
}

#[derive(Debug)]
struct Reader {
    ids: Vec<String>,
    places: Vec<i64>,
    page_max: usize,
    /// After so many pages it fails.
    pages_left: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { ids: Vec::new(), places: Vec::new(), page_max: 0, pages_left: usize::MAX }
    }
}

impl DeadVisitor for Reader {
    fn visit(&mut self, page: Vec<Peeked>) -> BoxFuture<'_, Result<(), Error>> {
        self.page_max = self.page_max.max(page.len());
        self.places.extend(page.iter().map(|dead| dead.position));
        self.ids.extend(page.iter().map(|dead| dead.envelope.id.as_ref().unwrap().to_string()));
        self.pages_left -= 1;
        let is_done = self.pages_left == 0;
        let full = || Error::new(ErrorKind::Full, "write a page");
        Box::pin(async move { if is_done { Err(full()) } else { Ok(()) } })
    }
}

struct Sleeper;

impl DeadVisitor for Sleeper {
    fn visit(&mut self, _page: Vec<Peeked>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_redrive_keeps_the_order_of_those_that_go_and_of_those_that_stay() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    let ids = ids(1_200);
    kill(&broker, &ids).await;
    let (even, odd): (Vec<_>, Vec<_>) = ids.iter().cloned().partition(|id| is_even(id));
    let chosen = Redrive::ids(even.iter().map(|id| id.parse().unwrap()));
    let dry = Redrive { dry_run: true, ..chosen.clone() };
    assert_eq!(broker.redrive(&work(), dry).await.unwrap(), 600);
    assert_eq!(broker.redrive(&work(), chosen).await.unwrap(), 600);
    assert_ids(&peeked(&broker, &main_ref(), None).await, &even);
    assert_ids(&peeked(&broker, &dead_ref(), None).await, &odd);
    assert_eq!(broker.redrive(&work(), Redrive::all()).await.unwrap(), 600);
    let raw = vhost.raw().await;
    assert_ids(&drained(&raw, QUEUE).await, &[even, odd].concat());
    assert_eq!(drained(&raw, "work-dlq").await, [""; 0]);
}

fn is_even(id: &str) -> bool {
    id[1..].parse::<u32>().unwrap().is_multiple_of(2)
}

#[tokio::test]
async fn dead_letters_stay_what_they_are_when_their_queue_has_no_room() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(QueueSpec { length_max: Some(3), ..classic() })).await.unwrap();
    let ids = ids(8);
    kill(&broker, &ids).await;
    let error = broker.redrive(&work(), Redrive::all()).await.unwrap_err();
    assert_says(&error, ErrorKind::Full, &[QUEUE]);
    let raw = vhost.raw().await;
    let redriven = drained(&raw, QUEUE).await;
    assert_eq!(redriven, ids[..redriven.len()]);
    assert_eq!(drained(&raw, "work-dlq").await, ids[redriven.len()..], "nothing is in both");
}

/// Copies come first: who dies in between leaves duplicates.
#[tokio::test]
async fn a_redrive_whose_connection_is_cut_loses_nothing() {
    let ids = ids(1_500);
    for there_already in [1, 600, 1_100] {
        let Some(vhost) = Vhost::fresh() else { return };
        let broker = vhost.connect().await;
        broker.declare(&queue(spec())).await.unwrap();
        kill(&broker, &ids).await;
        let name = work();
        let cutting = async {
            while broker.depth(&name).await.unwrap().ready.known() < Some(there_already) {
                tokio::task::yield_now().await;
            }
            broker.cut().await;
        };
        let (answer, ()) = tokio::join!(broker.redrive(&name, Redrive::all()), cutting);
        if answer.is_err() {
            // What was held goes back when the broker sees that the connection is gone.
            redriven_at_last(&broker).await;
        }
        let raw = vhost.raw().await;
        assert_eq!(drained(&raw, "work-dlq").await, [""; 0]);
        let mut there = drained(&raw, QUEUE).await;
        there.sort();
        there.dedup();
        assert_ids(&there, &ids);
    }
}

async fn redriven_at_last(broker: &RabbitMq) {
    let redriving = async {
        while broker.depth(&work()).await.unwrap().dead != Figure::Known(0) {
            broker.redrive(&work(), Redrive::all()).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, redriving).await.expect("the rest can be redriven");
}

#[tokio::test]
async fn figures_are_counted_and_what_only_the_management_api_knows_is_asked_there() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(classic())).await.unwrap();
    kill(&broker, &ids(2)).await;
    let sent = SystemClock.now();
    let aged = |id| Envelope { sent_at: Some(sent), ..message(id) };
    let batch = ["a", "b", "c"].map(|id| to(Destination::Queue(main_ref()), aged(id)));
    send_all(&broker, &batch).await;
    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    let _held = receiver.next().await.unwrap().unwrap();
    let depth = broker.depth(&work()).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (Figure::Known(2), Figure::Known(2)));
    assert!(matches!(depth.delayed, Figure::Unknown(why) if why.contains("stages")), "{depth:?}");
    const PAUSE: Duration = Duration::from_millis(100);
    let counted = async {
        while broker.depth(&work()).await.unwrap().leased != Figure::Known(1) {
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            if let Some(age) = broker.age(&work()).await.unwrap() {
                return age;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let age = tokio::time::timeout(PATIENCE, counted).await.expect("the API counts sometime");
    let second = Duration::from_secs(1);
    assert!(age <= SystemClock.now().since(sent) + second, "{age:?}");

    let alone = RabbitMq::connect(without_management(&vhost)).await.unwrap();
    let depth = alone.depth(&work()).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (Figure::Known(2), Figure::Known(2)));
    assert!(matches!(depth.leased, Figure::Unknown(why) if why.contains("management")));
    assert_eq!(alone.age(&work()).await.unwrap(), None);
}

fn without_management(vhost: &Vhost) -> &str {
    vhost.url.as_str().split('?').next().unwrap()
}

#[tokio::test]
async fn a_management_api_that_does_not_answer_costs_its_figures_only() {
    let Some(vhost) = Vhost::fresh() else { return };
    let url = without_management(&vhost);
    // A port of nobody.
    let management = "http%3A%2F%2Fguest%3Ahidden%40127.0.0.1%3A9";
    let broker = RabbitMq::connect(&format!("{url}?management={management}")).await.unwrap();
    broker.declare(&queue(spec())).await.unwrap();
    let depth = broker.depth(&work()).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (Figure::Known(0), Figure::Known(0)));
    assert!(matches!(depth.leased, Figure::Unknown(_)), "{depth:?}");
    let error = broker.age(&work()).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &[QUEUE, "http://127.0.0.1:9"]);
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_named() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let nowhere = QueueName::foreign("nowhere");
    let main = QueueRef::Main(nowhere.clone());
    let errors = [
        broker.depth(&nowhere).await.unwrap_err(),
        broker.peek(&main, None, 1).await.unwrap_err(),
        broker.find(&main, &"a".parse().unwrap()).await.unwrap_err(),
        broker.purge(&main).await.unwrap_err(),
        broker.groups(&nowhere).await.unwrap_err(),
        broker.visit_dead(&nowhere, &mut Sleeper).await.unwrap_err(),
        broker.redrive(&nowhere, Redrive::all()).await.unwrap_err(),
    ];
    for error in errors {
        assert_says(&error, ErrorKind::NotFound, &["nowhere"]);
    }
}

#[tokio::test]
async fn a_queue_that_another_consumer_has_to_itself_says_why_nothing_is_seen() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let ordered = QueueSpec { ordering: Ordering::PerQueue, ..spec() };
    broker.declare(&queue(ordered)).await.unwrap();
    send_all(&broker, &[to_queue(QUEUE, "a"), to_queue(QUEUE, "b")]).await;
    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    let _held = receiver.next().await.unwrap().unwrap();
    let error = broker.peek(&main_ref(), None, 1).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &[QUEUE, "single active consumer"]);
    // Its dead letters are nobody's.
    kill(&broker, &ids(1)).await;
    assert_eq!(peeked(&broker, &dead_ref(), None).await, ids(1));
}

#[tokio::test]
async fn what_others_take_meanwhile_ends_a_look() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let raw = vhost.raw().await;
    raw_queue(&raw, QUEUE, FieldTable::default()).await;
    let ids = ids(400);
    let batch: Vec<Outgoing> = ids.iter().map(|id| to_queue(QUEUE, id)).collect();
    send_all(&broker, &batch).await;
    let consumed = raw.channel.basic_consume(
        QUEUE.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let taking = async {
        let mut consumer = consumed.await.unwrap();
        let mut taken = 0;
        while let Ok(Some(next)) = tokio::time::timeout(QUIET, consumer.next()).await {
            next.unwrap().acker.ack(BasicAckOptions::default()).await.unwrap();
            taken += 1;
        }
        taken
    };
    let main = main_ref();
    let (looked, taken) = tokio::join!(peeked(&broker, &main, None), taking);
    assert!(looked.is_sorted(), "{looked:?}");
    assert_eq!(taken, 400, "what was looked at came back");
}

/// Longer than a look takes.
const QUIET: Duration = Duration::from_secs(8);
