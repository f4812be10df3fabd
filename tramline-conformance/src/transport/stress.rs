//! Many producers and consumers on two handles: nothing is lost, nothing comes after its ack.

use crate::TransportHarness;
use crate::kit::consumer::id_of;
use crate::kit::engine::{Failed, retry};
use crate::kit::message::{message, to_queue};
use crate::kit::operator::{Expected, assert_depth};
use crate::kit::scene::{Scene, Taken, WORK};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet};
use tramline_core::clock::{Entropy, SeededEntropy};
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::transport::{Delivery, Transport};

const PRODUCERS: usize = 4;
const MESSAGES_EACH: usize = 2_000;
const MESSAGES: usize = PRODUCERS * MESSAGES_EACH;
const BATCH: usize = 50;
const CONSUMERS: usize = 4;
const PREFETCH: u32 = 32;

pub async fn under_load_nothing_is_lost_and_nothing_comes_after_its_ack<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let scenes = [Arc::new(scene), Arc::new(other)];
    let ledger = Arc::new(Ledger::default());
    let mut tasks = JoinSet::new();
    for number in 0..PRODUCERS {
        tasks.spawn(produce(scenes[number % 2].clone(), number));
    }
    for number in 0..CONSUMERS {
        tasks.spawn(consume(scenes[number % 2].clone(), number, ledger.clone()));
    }
    let mut acked = ledger.acked.subscribe();
    while *acked.borrow_and_update() < MESSAGES {
        tokio::select! {
            moved = tokio::time::timeout(harness.patience(), acked.changed()) => {
                assert!(moved.is_ok(), "stuck: {}", ledger.report());
            }
            Some(ended) = tasks.join_next() => ended.expect("no producer or consumer panics"),
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no producer or consumer panics");
    }
    let empty = Expected::default();
    assert_depth(&scenes[0], WORK, empty, &format!("after {}", ledger.report())).await;
}

/// What the consumers have done so far.
#[derive(Default)]
struct Ledger {
    state: Mutex<Books>,
    acked: watch::Sender<usize>,
}

#[derive(Default)]
struct Books {
    acked: BTreeSet<String>,
    deliveries: usize,
    leases_lost: usize,
}

impl Ledger {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delivered(&self, id: &str) {
        let mut books = self.books();
        books.deliveries += 1;
        assert!(!books.acked.contains(id), "{id} came again after its ack was done");
    }

    fn settled(&self, id: String, settled: Settled, acked: bool) {
        let mut books = self.books();
        match settled {
            Settled::LeaseLost => books.leases_lost += 1,
            Settled::Done if acked => {
                assert!(books.acked.insert(id.clone()), "{id} was acked twice");
                self.acked.send_replace(books.acked.len());
            }
            Settled::Done => {}
        }
    }

    fn report(&self) -> String {
        let books = self.books();
        format!(
            "{} of {MESSAGES} acked in {} deliveries, {} leases lost",
            books.acked.len(),
            books.deliveries,
            books.leases_lost
        )
    }
}

async fn produce<T: Transport>(scene: Arc<Scene<T>>, producer: usize) {
    for batch in 0..MESSAGES_EACH / BATCH {
        let ids = (0..BATCH).map(|number| format!("p{producer}-{}", batch * BATCH + number));
        let batch: Vec<_> = ids.map(|id| to_queue(WORK, message(&id))).collect();
        scene.send_all(&batch).await;
    }
}

/// Takes until everything is acked by anyone, then stops, and must find nothing left.
async fn consume<T: Transport>(scene: Arc<Scene<T>>, number: usize, ledger: Arc<Ledger>) {
    let chance = SeededEntropy::new(number as u64);
    let mut consumer = scene.consumer(WORK, PREFETCH).await;
    let mut acked = ledger.acked.subscribe();
    let mut settling = JoinSet::new();
    loop {
        tokio::select! {
            next = consumer.next_ever() => {
                ledger.delivered(&id_of(&next));
                let fate = Fate::drawn(&chance);
                settling.spawn(settle(scene.clone(), next, fate, ledger.clone()));
            }
            Some(ended) = settling.join_next() => ended.expect("no settlement panics"),
            _ = acked.wait_for(|acked| *acked == MESSAGES) => break,
        }
    }
    while let Some(ended) = settling.join_next().await {
        ended.expect("no settlement panics");
    }
    for delivery in consumer.stop().await {
        ledger.delivered(&id_of(&delivery));
    }
}

/// How one delivery ends.
enum Fate {
    Acked,
    Retried,
    Returned,
    Dropped,
}

impl Fate {
    fn drawn(chance: &SeededEntropy) -> Self {
        match chance.bits() % 10 {
            0 => Self::Retried,
            1 => Self::Returned,
            2 => Self::Dropped,
            _ => Self::Acked,
        }
    }
}

async fn settle<T: Transport>(
    scene: Arc<Scene<T>>,
    delivery: Taken<T>,
    fate: Fate,
    ledger: Arc<Ledger>,
) {
    let id = id_of(&delivery);
    let (how, acked) = match fate {
        Fate::Acked => (Settlement::Ack, true),
        Fate::Returned => (Settlement::Return, false),
        Fate::Dropped => return drop(delivery),
        Fate::Retried => {
            let failed = Failed::again(delivery.failures() + 1);
            return retry(&scene, WORK, delivery, Duration::from_millis(1), failed).await;
        }
    };
    match delivery.settle(how).await {
        Ok(settled) => ledger.settled(id, settled, acked),
        Err(error) => panic!("expected {id} to be settled, got: {error}"),
    }
}
