//! Schedules are put, replaced, cancelled and fired once; what recurs has one next moment. Stores that keep none pass.

use super::harness::{StoreHarness, Write};
use super::work::{Work, put};
use crate::kit::message::{message, message_id, queue_name};
use crate::kit::scene::WORK;
use crate::kit::time::within;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::store::{
    Change, Committed, Condition, DueSchedule, Look, NAME_KEPT, Plan, Planned, RecurringRow,
    Refusal, ScheduleKey, Schedules, Store,
};
use tramline_core::transport::{Destination, Outgoing};

/// Scenarios tell the time themselves.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + seconds * 1000)
}

fn outgoing(text: &str) -> Outgoing {
    let envelope = Envelope { id: Some(message_id(text)), ..message(text) };
    let to = Destination::Queue(QueueRef::Main(queue_name(WORK)));
    Outgoing { to, envelope: Arc::new(envelope), due: None, copy: None }
}

fn schedule(name: &str, token: i64, due: i64) -> Plan {
    let outgoing = outgoing(&format!("{name} {token}"));
    let change = Change::Put { token, due: at(due), outgoing, anew: false };
    Plan { name: name.to_owned(), now: at(0), change }
}

fn cancel(name: &str, now: i64) -> Plan {
    Plan { name: name.to_owned(), now: at(now), change: Change::Cancel }
}

fn recur(name: &str, token: i64, rhythm: &str, due: i64) -> Plan {
    let change = Change::Recur { token, rhythm: rhythm.to_owned(), due: at(due) };
    Plan { name: name.to_owned(), now: at(0), change }
}

fn pause(name: &str, is_paused: bool) -> Plan {
    Plan { name: name.to_owned(), now: at(0), change: Change::Pause(is_paused) }
}

async fn plan(schedules: &dyn Schedules, plans: impl IntoIterator<Item = Plan>) -> Vec<Planned> {
    schedules.plan(plans.into_iter().collect()).await.expect("plans are carried out")
}

async fn look(schedules: &dyn Schedules, now: i64) -> Look {
    schedules.look(1000, at(now)).await.expect("a store can be looked into")
}

fn names(due: &[DueSchedule]) -> Vec<&str> {
    due.iter().map(|due| &*due.key.name).collect()
}

fn due(name: &str, token: i64, now: i64) -> Condition {
    Condition::Due { key: ScheduleKey { name: name.to_owned(), token }, now: at(now) }
}

pub async fn schedules_are_found_when_they_are_due_the_earliest_first<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    let other = harness.other(&store).await;
    let plans = [schedule("c", 1, 30), schedule("b", 2, 10), schedule("a", 3, 20)];
    assert_eq!(plan(schedules, plans).await, [Planned::Done; 3]);
    assert_eq!(look(schedules, 5).await.next, Some(at(10)));
    let schedules = other.schedules().expect("another handle keeps them, too");
    let look_20 = look(schedules, 20).await;
    assert_eq!((names(&look_20.due), look_20.next), (vec!["b", "a"], Some(at(30))));
    let first = &look_20.due[0];
    assert_eq!((first.key.token, first.due), (2, at(10)));
    assert_eq!(first.outgoing.as_ref().expect("it can be read"), &outgoing("b 2"));
    let limited = schedules.look(1, at(40)).await.expect("a store can be looked into");
    assert_eq!((names(&limited.due), limited.next), (vec!["b"], None));
    let waiting = schedules.waiting(Some("a"), 1).await.expect("they are listed");
    assert_eq!(
        waiting.iter().map(|row| (&*row.name, row.due)).collect::<Vec<_>>(),
        [("b", at(10))]
    );
}

pub async fn a_schedule_is_replaced_by_another_of_its_name<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [schedule("a", 1, 10), schedule("a", 2, 20)]).await;
    assert!(look(schedules, 19).await.due.is_empty());
    let refused = Work::of([put("x", 1)]).provided([due("a", 1, 20)]);
    assert_eq!(refused.refused(&harness, &store).await, [(0, Refusal::Changed)]);
    assert_eq!(look(schedules, 20).await.due[0].key.token, 2);
    assert_eq!(harness.read(&store, "x").await, None);
}

pub async fn a_schedule_fires_with_a_commit_and_once<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [schedule("a", 1, 10), schedule("b", 2, 10)]).await;
    let fail = Write::Fail("no".to_owned());
    Work::of([fail]).provided([due("a", 1, 10)]).failed(&harness, &store).await;
    assert_eq!(names(&look(schedules, 10).await.due).len(), 2, "nothing has fired");
    let fire = |names: &[(&str, i64)]| {
        let conditions = names.iter().map(|(name, token)| due(name, *token, 10));
        Work::of([]).provided(conditions).buffering([outgoing("fired")])
    };
    fire(&[("a", 1)]).done(&harness, &store).await;
    let both = fire(&[("b", 2), ("a", 1)]).refused(&harness, &store).await;
    assert_eq!(both, [(1, Refusal::Changed)]);
    assert_eq!(names(&look(schedules, 10).await.due), ["b"], "it is as it was");
    fire(&[("b", 2)]).done(&harness, &store).await;
    let sent = store.outbox().claim(10, Duration::from_secs(60), crate::kit::time::now());
    assert_eq!(sent.await.expect("the outbox can be claimed").len(), 2);
    let twice = [cancel("a", 11), cancel("a", 12)];
    assert_eq!(plan(schedules, twice).await, [Planned::TooLate, Planned::TooLate]);
    let overtaken = plan(schedules, [schedule("a", 3, 20), schedule("b", 4, 20)]).await;
    assert_eq!(overtaken, [Planned::AlreadyCancelled, Planned::Done], "b has fired, no more");
    assert_eq!(names(&look(schedules, 30).await.due), ["b"]);
}

pub async fn a_cancellation_says_what_it_found_and_is_remembered_for_a_day<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [schedule("a", 1, 10)]).await;
    let twice = ["a", "a", "b", "b"].map(|name| cancel(name, 5));
    let (cancelled, unknown) = (Planned::Cancelled, Planned::NotYetKnown);
    assert_eq!(plan(schedules, twice).await, [cancelled, cancelled, unknown, unknown]);
    assert!(look(schedules, 10).await.due.is_empty());
    let refused = Work::of([]).provided([due("a", 1, 10)]).refused(&harness, &store).await;
    assert_eq!(refused, [(0, Refusal::Changed)]);
    let again = |now: i64, anew: bool| {
        ["a", "b"].map(|name| {
            let Plan { mut change, .. } = schedule(name, 7, 10);
            if let Change::Put { anew: said, .. } = &mut change {
                *said = anew;
            }
            Plan { name: name.to_owned(), now: at(now), change }
        })
    };
    let day = 24 * 60 * 60;
    assert_eq!(plan(schedules, again(4 + day, false)).await, [Planned::AlreadyCancelled; 2]);
    assert_eq!(plan(schedules, again(6, true)).await, [Planned::Done; 2]);
    plan(schedules, ["a", "b"].map(|name| cancel(name, 6))).await;
    assert_eq!(plan(schedules, again(6 + day, false)).await, [Planned::Done; 2], "after a day");
}

pub async fn names_are_forgotten_when_their_time_is_over<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [schedule("a", 1, 10), schedule("w", 2, 10), cancel("b", 20)]).await;
    Work::of([]).provided([due("a", 1, 10)]).done(&harness, &store).await;
    let prune = async |now| schedules.prune(now, 100).await.expect("names can be forgotten");
    assert_eq!(prune(at(9).after(NAME_KEPT)).await, 0);
    assert_eq!(prune(at(10).after(NAME_KEPT)).await, 1);
    assert_eq!(plan(schedules, [cancel("a", 11)]).await, [Planned::NotYetKnown]);
    assert_eq!(prune(at(30).after(NAME_KEPT)).await, 2);
    assert_eq!(names(&look(schedules, 10).await.due), ["w"], "what waits is never forgotten");
}

pub async fn a_postponed_schedule_waits_unless_it_was_replaced<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [schedule("a", 1, 10), schedule("b", 2, 10)]).await;
    let key = |name: &str, token| ScheduleKey { name: name.to_owned(), token };
    for key in [key("a", 1), key("b", 1)] {
        schedules.postpone(&key, at(50)).await.expect("a schedule can be postponed");
    }
    let look_49 = look(schedules, 49).await;
    assert_eq!((names(&look_49.due), look_49.next), (vec!["b"], Some(at(50))));
    let due: Vec<_> =
        look(schedules, 50).await.due.into_iter().map(|row| (row.key.name, row.due)).collect();
    assert_eq!(due, [("b".to_owned(), at(10)), ("a".to_owned(), at(10))]);
}

pub async fn what_recurs_keeps_its_next_moment_until_its_rhythm_changes<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [recur("r", 1, "slow", 10), recur("r", 2, "slow", 15)]).await;
    let row = |rhythm: &str, due, is_paused| RecurringRow {
        name: "r".to_owned(),
        token: 1,
        rhythm: rhythm.into(),
        due: at(due),
        is_paused,
    };
    assert_eq!(look(schedules, 0).await.recurring, [row("slow", 10, false)]);
    let tick = |row: RecurringRow| Work::of([]).provided([Condition::Tick { row, next: at(20) }]);
    for other in [row("slow", 11, false), row("quick", 10, false), row("slow", 10, true)] {
        let refused = tick(other).refused(&harness, &store).await;
        assert_eq!(refused, [(0, Refusal::Changed)]);
    }
    tick(row("slow", 10, false)).done(&harness, &store).await;
    tick(row("slow", 10, false)).refused(&harness, &store).await;
    assert_eq!(
        plan(schedules, [pause("r", true), pause("s", true)]).await,
        [Planned::Done, Planned::NotFound]
    );
    assert_eq!(look(schedules, 0).await.recurring, [row("slow", 20, true)]);
    plan(schedules, [recur("r", 3, "quick", 12), pause("r", false)]).await;
    assert_eq!(look(schedules, 0).await.recurring, [row("quick", 12, false)]);
}

pub async fn plans_in_a_transaction_hold_if_it_is_committed<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(schedules) = store.schedules() else { return };
    plan(schedules, [schedule("a", 1, 10)]).await;
    let plans = || [schedule("b", 2, 10), cancel("a", 5)].map(Condition::Plan);
    let fail = Write::Fail("no".to_owned());
    Work::of([put("x", 1), fail]).provided(plans()).failed(&harness, &store).await;
    assert_eq!(names(&look(schedules, 10).await.due), ["a"]);
    Work::of([put("x", 1)]).provided(plans()).done(&harness, &store).await;
    assert_eq!(names(&look(schedules, 10).await.due), ["b"]);
}

pub async fn of_rivals_one_fires_each_schedule<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    if store.schedules().is_none() {
        return;
    }
    let (harness, count) = (Arc::new(harness), 20);
    let plans = (0..count).map(|n| schedule(&format!("{n:02}"), n, 10));
    let rivals = [harness.other(&store).await, harness.other(&store).await];
    plan(store.schedules().expect("it keeps them"), plans).await;
    let mut firing = JoinSet::new();
    for rival in rivals {
        let harness = harness.clone();
        firing.spawn(async move {
            let mut fired = 0;
            for n in 0..count {
                let work = Work::of([]).provided([due(&format!("{n:02}"), n, 10)]);
                let committed = work.commit(&*harness, &rival).await;
                fired += i64::from(committed.expect("a rival is answered") == Committed::Done);
            }
            fired
        });
    }
    assert_eq!(firing.join_all().await.iter().sum::<i64>(), count);
}

pub async fn an_earlier_schedule_wakes_whoever_fires_in_another_handle<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    if store.schedules().is_none() {
        return;
    }
    let other = harness.other(&store).await;
    let (store, patience) = (Arc::new(store), harness.patience());
    let firing = store.clone();
    let (listens, listening) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        let schedules = firing.schedules().expect("it keeps them");
        let seen = schedules.changes();
        // Where others have to be told first who fires, this tells them.
        let _ =
            tokio::time::timeout(Duration::from_millis(200), schedules.changed_since(seen)).await;
        let seen = schedules.changes();
        let _ = listens.send(());
        schedules.changed_since(seen).await;
    });
    listening.await.expect("somebody listens");
    plan(other.schedules().expect("it keeps them"), [schedule("a", 1, 10)]).await;
    within(patience, "to be woken", waiting).await.expect("the listener has not panicked");
}
