//! What a queue asks for holds inside a transaction too.

use super::harness::{Note, StoreHarness, Write};
use super::work::{Work, outside, put, shared};
use crate::kit::consumer::{ack, id_of};
use crate::kit::message::{keyed_messages, message, queue_name, to_queue};
use crate::kit::operator::{Expected, assert_depth, offered};
use crate::kit::scene::{Scene, WORK};
use crate::kit::topology::{one_queue, plain};
use std::time::Duration;
use tramline_core::capabilities::{Capabilities, Ordering};
use tramline_core::compose::Publishing;
use tramline_core::store::Condition;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{Delivery, Transport};

/// The queue that has a wish, beside the plain one.
const CHOOSY: &str = "choosy";

pub async fn an_ack_in_a_transaction_lets_its_key_go_on<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let spec = QueueSpec { ordering: Ordering::PerKey, ..plain(CHOOSY) };
    let keeps = |can: &Capabilities| can.ordering >= Ordering::PerKey && can.key_lock.is_native();
    let Some(scene) = choosy(&harness, &store, spec, keeps).await else {
        return;
    };
    scene.send_all(&keyed_messages(CHOOSY, ["x1", "x2", "y1"])).await;
    let mut consumer = scene.consumer(CHOOSY, 10).await;
    let x = consumer.next_is("x1").await;
    let y = consumer.next_is("y1").await;
    let failing = Work::of([Write::Fail("no".to_owned())]).provided([acked(&x)]);
    failing.failed(&harness, &store).await;
    // Its transaction was taken back, so it still holds its key.
    scene.send(to_queue(CHOOSY, message("keyless"))).await;
    ack(consumer.next_is("keyless").await).await;
    Work::of([put("x", 1)]).provided([acked(&x)]).done(&harness, &store).await;
    x.settled_by_store();
    consumer.ack_all(&["x2"]).await;
    ack(y).await;
}

pub async fn a_full_queue_takes_the_whole_transaction_back<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let spec = QueueSpec { length_max: Some(2), ..plain(CHOOSY) };
    let Some(scene) = choosy(&harness, &store, spec, |can| can.length_max.is_offered()).await
    else {
        return;
    };
    let send = |queue, text| Write::Send(queue_name(queue), Note::new(text));
    let fill = |count: usize| {
        let sends = (0..count).map(|number| send(CHOOSY, ["a", "b", "c"][number]));
        let writes = [put("x", 1), send(WORK, "beside")].into_iter().chain(sends);
        Work::of(writes).under(outside(Publishing::Queues))
    };
    let failure = fill(3).failed(&harness, &store).await;
    assert!(failure.contains(CHOOSY), "the failure must name the queue: {failure}");
    assert_eq!(harness.read(&store, "x").await, None, "nothing of it is left");
    for queue in [CHOOSY, WORK] {
        assert_depth(&scene, queue, Expected::default(), "after it was taken back").await;
    }
    fill(2).done(&harness, &store).await;
    assert_eq!(harness.read(&store, "x").await, Some(1));
}

pub async fn what_a_transaction_acked_is_kept_where_that_was_asked_for<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    let spec = QueueSpec { keep_completed: Some(Duration::from_secs(3600)), ..plain(CHOOSY) };
    let keeps = |can: &Capabilities| can.keep_completed.is_native();
    let Some(scene) = choosy(&harness, &store, spec, keeps).await else {
        return;
    };
    scene.send(to_queue(CHOOSY, message("a"))).await;
    let delivery = scene.consumer(CHOOSY, 1).await.next_is("a").await;
    let operator = scene.transport.operate().expect("who keeps what was handled shows it");
    let failing = Work::of([Write::Fail("no".to_owned())]).provided([acked(&delivery)]);
    failing.failed(&harness, &store).await;
    let queue = queue_name(CHOOSY);
    assert_eq!(offered(operator.completed(&queue, None, 10).await), Some(Vec::new()));
    Work::of([put("x", 1)]).provided([acked(&delivery)]).done(&harness, &store).await;
    let id = id_of(&delivery);
    delivery.settled_by_store();
    let completed = offered(operator.completed(&queue, None, 10).await).unwrap_or_default();
    let ids = completed.iter().filter_map(|one| one.envelope.id.as_ref().map(ToString::to_string));
    assert_eq!(ids.collect::<Vec<_>>(), [id]);
}

/// A scene with the queue [`WORK`] and `spec`, if the transport can do what `spec` asks for.
async fn choosy<H: StoreHarness>(
    harness: &H,
    store: &H::Store,
    spec: QueueSpec,
    offers: impl Fn(&Capabilities) -> bool,
) -> Option<Scene<H::Transport>> {
    let mut scene = shared(harness, store).await?;
    if !offers(&scene.transport.capabilities(&spec)) {
        return None;
    }
    scene.declare(one_queue(spec)).await;
    Some(scene)
}

fn acked(delivery: &impl Delivery) -> Condition {
    Condition::Ack(delivery.ticket().expect("a transport on the store's database gives tickets"))
}
