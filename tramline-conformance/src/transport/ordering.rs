//! Messages of one key are handled one after the other, or the order is refused.
//!
//! That a message is held back is shown by one that came after it and is not: a consumer with free
//! slots would get the held one first.

use super::dead_letters::TIME_TO_DIE;
use crate::TransportHarness;
use crate::kit::consumer::{Consumer, ack, id_of, settle};
use crate::kit::declared::{declared_or_refused, locked_or_refused, ordered_or_refused};
use crate::kit::engine::{Failed, dead_letter, retry};
use crate::kit::message::{keyed, keyed_messages, message, messages, queue_name, to_queue};
use crate::kit::operator::{Expected, assert_depth, offered};
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::{due_in, until};
use crate::kit::topology::{one_queue, plain};
use std::time::Duration;
use tramline_core::capabilities::{Capabilities, Ordering};
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::operate::Redrive;
use tramline_core::settlement::Settlement;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{Outgoing, Receiver, Transport};

/// Slots enough for everything that a scenario sends.
const MANY: u32 = 20;

pub async fn order_by_key_is_kept_or_refused<H: TransportHarness>(harness: H) {
    let Some(scene) = ordered_or_refused(&harness, by_key()).await else {
        return;
    };
    scene.send_all(&keyed_messages(WORK, ["x1", "y1", "x2", "z1", "y2", "x3"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let mut handled = Vec::new();
    for delivery in 0..6 {
        let next = consumer.next().await;
        assert!(!handled.contains(&id_of(&next)), "delivery {delivery} came twice");
        handled.push(id_of(&next));
        ack(next).await;
    }
    for key in ["x", "y", "z"] {
        let of_key: Vec<&String> = handled.iter().filter(|id| id.starts_with(key)).collect();
        assert!(of_key.is_sorted(), "messages of one key were handled as {of_key:?}");
    }
}

pub async fn one_message_of_a_key_is_out_at_a_time_in_all_processes<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    let other = scene.other(&harness).await;
    scene.send_all(&keyed_messages(WORK, ["x1", "x2", "y1", "x3", "y2", "z1"])).await;
    let mut here = scene.consumer(WORK, 2).await;
    let x = here.next_is("x1").await;
    let y = here.next_is("y1").await;
    here.stop().await;
    let mut there = other.consumer(WORK, MANY).await;
    let z = there.next_is("z1").await;
    ack(x).await;
    let x = there.next_is("x2").await;
    ack(y).await;
    let y = there.next_is("y2").await;
    ack(x).await;
    ack(there.next_is("x3").await).await;
    ack(y).await;
    ack(z).await;
    // Nothing holds a key of which nothing is left.
    scene.send_all(&keyed_messages(WORK, ["x4", "y3"])).await;
    drop(there.next_are(&["x4", "y3"]).await);
}

pub async fn a_retried_message_keeps_its_key_locked_where_that_is_native<H: TransportHarness>(
    harness: H,
) {
    const PAUSE: Duration = Duration::from_millis(200);
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    scene.send_all(&keyed_messages(WORK, ["x1", "x2", "y1"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    let failing = consumer.next_is("x1").await;
    let meanwhile = consumer.next_is("y1").await;
    retry(&scene, WORK, failing, PAUSE, Failed::again(1)).await;
    ack(meanwhile).await;
    // During the pause x2 could be taken, were the key not locked.
    let again = consumer.next_is("x1").await;
    scene.send(to_queue(WORK, keyed("z1"))).await;
    ack(consumer.next_is("z1").await).await;
    retry(&scene, WORK, again, Duration::ZERO, Failed::again(2)).await;
    consumer.ack_all(&["x1", "x2"]).await;
}

pub async fn a_dead_letter_lets_its_key_go_on<H: TransportHarness>(harness: H) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    scene.send_all(&keyed_messages(WORK, ["x1", "x2", "y1"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    let bad = consumer.next_is("x1").await;
    let y = consumer.next_is("y1").await;
    dead_letter(&scene, WORK, bad, Reason::Permanent, Failed::again(1)).await;
    consumer.ack_all(&["x2"]).await;
    ack(y).await;
    // Dead letters are evidence: they lock nothing and wait for nobody.
    scene.send(to_queue(WORK, keyed("x3"))).await;
    let bad = consumer.next_is("x3").await;
    dead_letter(&scene, WORK, bad, Reason::Permanent, Failed::again(1)).await;
    drop(scene.undertaker(WORK).await.next_are(&["x1", "x3"]).await);
}

pub async fn what_is_given_back_or_lost_stays_before_its_key<H: TransportHarness>(harness: H) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    let other = scene.other(&harness).await;
    scene.send_all(&keyed_messages(WORK, ["x1", "x2"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    settle(consumer.next_is("x1").await, Settlement::Return).await;
    drop(consumer.next_is("x1").await);
    let held = consumer.next_is("x1").await;
    consumer.stop().await;
    harness.end_leases(&scene.transport, &queue_name(WORK)).await;

    let mut elsewhere = other.consumer(WORK, MANY).await;
    let again = elsewhere.next_is("x1").await;
    scene.send(to_queue(WORK, keyed("y1"))).await;
    ack(elsewhere.next_is("y1").await).await;
    drop(held);
    ack(again).await;
    elsewhere.ack_all(&["x2"]).await;
}

pub async fn a_scheduled_message_lines_up_when_it_is_due<H: TransportHarness>(harness: H) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    if scene.can(WORK).delay.is_none() {
        return;
    }
    let due = due_in(TIME_TO_DIE);
    let scheduled = Outgoing { due: Some(due), ..to_queue(WORK, keyed("x1")) };
    scene.send(scheduled).await;
    scene.send_all(&keyed_messages(WORK, ["x2", "x3"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    let held = consumer.next_is("x2").await;
    until(due).await;
    // It is due and held back now: a consumer has free slots, and gets what came after it.
    scene.send(to_queue(WORK, keyed("y1"))).await;
    ack(consumer.next_is("y1").await).await;
    ack(held).await;
    consumer.ack_all(&["x3", "x1"]).await;
}

pub async fn messages_without_a_key_are_not_held_back<H: TransportHarness>(harness: H) {
    let Some(scene) = ordered_or_refused(&harness, by_key()).await else {
        return;
    };
    scene.send_all(&messages(WORK, ["a", "b", "c"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    let mut held = consumer.next_are(&["a", "b", "c"]).await;
    // They wait for nobody, and nobody waits for them.
    retry(&scene, WORK, held.remove(0), Duration::ZERO, Failed::again(1)).await;
    consumer.ack_all(&["a"]).await;
}

pub async fn a_priority_counts_among_the_first_of_each_key<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { priority_max: Some(9), ..by_key() };
    let offered = |can: &Capabilities| match can.ordering {
        Ordering::None => false,
        Ordering::PerKey | Ordering::PerQueue => can.priority.is_native(),
    };
    let Some(scene) = declared_or_refused(&harness, spec, offered).await else {
        return;
    };
    if !scene.can(WORK).key_lock.is_native() {
        return;
    }
    for (id, priority) in [("x low", 1), ("x high", 9), ("y", 5)] {
        let envelope = Envelope { priority: Some(priority), ..keyed(id) };
        scene.send(to_queue(WORK, envelope)).await;
    }
    let mut consumer = scene.consumer(WORK, MANY).await;
    let y = consumer.next_is("y").await;
    consumer.ack_all(&["x low", "x high"]).await;
    ack(y).await;
}

pub async fn a_redriven_message_lines_up_behind_its_key<H: TransportHarness>(harness: H) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    scene.send_all(&keyed_messages(WORK, ["x1", "x2", "x3"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    let bad = consumer.next_is("x1").await;
    dead_letter(&scene, WORK, bad, Reason::Permanent, Failed::again(1)).await;
    let held = consumer.next_is("x2").await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let redriven = operator.redrive(&queue_name(WORK), Redrive::all()).await;
    if offered(redriven).is_some() {
        scene.send(to_queue(WORK, keyed("y1"))).await;
        ack(consumer.next_is("y1").await).await;
        ack(held).await;
        consumer.ack_all(&["x3", "x1"]).await;
    }
}

pub async fn a_purge_takes_what_stands_behind_its_key_and_frees_the_key<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    scene.send_all(&keyed_messages(WORK, ["x1", "x2", "x3", "y1", "y2"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next_is("x1").await;
    let depth = Expected { ready: 4, leased: 1, ..Expected::default() };
    assert_depth(&scene, WORK, depth, "with three behind their keys").await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let main = QueueRef::Main(queue_name(WORK));
    if offered(operator.purge(&main).await) != Some(4) {
        panic!("expected x2, x3, y1 and y2 to be purged");
    }
    let depth = Expected { leased: 1, ..Expected::default() };
    assert_depth(&scene, WORK, depth, "after the purge").await;
    scene.send_all(&keyed_messages(WORK, ["x4", "y3"])).await;
    ack(held).await;
    let mut rest = Vec::new();
    for _ in 0..2 {
        let next = consumer.next().await;
        rest.push(id_of(&next));
        ack(next).await;
    }
    rest.sort();
    assert_eq!(rest, ["x4", "y3"]);
}

pub async fn an_expired_message_lets_its_key_go_on<H: TransportHarness>(harness: H) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    if !scene.can(WORK).expiry.is_native() {
        return;
    }
    let expires_at = due_in(Duration::from_millis(100));
    let stale = |id| to_queue(WORK, Envelope { expires_at: Some(expires_at), ..keyed(id) });
    scene.send_all(&[stale("x1"), stale("x2"), to_queue(WORK, keyed("x3"))]).await;
    until(expires_at).await;
    scene.consumer(WORK, 1).await.ack_all(&["x3"]).await;
}

pub async fn a_restart_keeps_keys_locked<H: TransportHarness>(harness: H) {
    let Some(scene) = locked_or_refused(&harness, by_key()).await else {
        return;
    };
    let patience = scene.patience;
    scene.send_all(&keyed_messages(WORK, ["x1", "x2"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    retry(&scene, WORK, consumer.next_is("x1").await, TIME_TO_DIE, Failed::again(1)).await;
    drop(consumer);
    let Some(transport) = harness.restart(scene.into_transport()).await else {
        return;
    };
    let mut scene = Scene::on(transport, patience).await;
    scene.declare(one_queue(by_key())).await;
    scene.send_all(&keyed_messages(WORK, ["x3", "y1"])).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    ack(consumer.next_is("y1").await).await;
    consumer.ack_all(&["x1", "x2", "x3"]).await;
}

pub async fn order_by_queue_is_kept_or_refused<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { ordering: Ordering::PerQueue, ..plain(WORK) };
    let Some(scene) = ordered_or_refused(&harness, spec).await else {
        return;
    };
    let mixed = [keyed("a"), message("b"), keyed("c")].map(|envelope| to_queue(WORK, envelope));
    scene.send_all(&mixed).await;
    let mut consumer = scene.consumer(WORK, MANY).await;
    if scene.can(WORK).key_lock.is_native() {
        let first = consumer.next_is("a").await;
        assert_nothing_more(&mut consumer).await;
        retry(&scene, WORK, first, Duration::from_millis(100), Failed::again(1)).await;
    }
    consumer.ack_all(&["a", "b", "c"]).await;
}

/// Nothing comes instead of what a whole queue holds back, so this asks for a moment.
async fn assert_nothing_more<R: Receiver>(consumer: &mut Consumer<R>) {
    const MOMENT: Duration = Duration::from_millis(100);
    if let Some(delivery) = consumer.next_within(MOMENT).await {
        panic!("{} was handed out while another was handled", id_of(&delivery));
    }
}

fn by_key() -> QueueSpec {
    QueueSpec { ordering: Ordering::PerKey, ..plain(WORK) }
}
