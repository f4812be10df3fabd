//! A transaction is all or nothing, and fails alone.

use super::harness::{StoreHarness, Write};
use super::work::{Work, add, outside, put};
use crate::kit::time::within;
use std::sync::Arc;
use tokio::task::JoinSet;
use tramline_core::compose::Publishing;
use tramline_core::store::{CommitError, Committed, Store};

pub async fn what_was_committed_is_there_for_every_handle<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    assert_eq!(store.database(), other.database(), "one database, one name");
    assert_eq!(harness.read(&store, "a").await, None, "nothing was written yet");
    Work::of([put("a", 1), put("b", 2), put("a", 3)]).done(&harness, &store).await;
    for handle in [&store, &other] {
        assert_eq!(harness.read(handle, "a").await, Some(3));
        assert_eq!(harness.read(handle, "b").await, Some(2));
    }
}

pub async fn an_empty_transaction_commits<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    Work::of([]).done(&harness, &store).await;
}

pub async fn a_dropped_transaction_leaves_nothing<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let begun = store.begin(outside(Publishing::Outbox)).await;
    let mut tx = begun.unwrap_or_else(|error| panic!("expected to begin, got: {error}"));
    let written = harness.write(&mut tx, put("a", 1)).await;
    written.unwrap_or_else(|failure| panic!("expected to write, got: {failure}"));
    drop(tx);
    // Whoever comes next is neither blocked by it nor sees it.
    Work::of([put("b", 1)]).done(&harness, &store).await;
    assert_eq!(harness.read(&store, "a").await, None);
}

pub async fn a_dropped_commit_is_all_or_nothing<H: StoreHarness>(harness: H) {
    const DROPPED: usize = 50;
    let store = harness.fresh().await;
    for number in 0..DROPPED {
        let (left, right) = (format!("left{number}"), format!("right{number}"));
        let work = Work::of([put(&left, 1), put(&right, 1)]);
        tokio::select! {
            biased;
            committed = work.commit(&harness, &store) => drop(committed),
            // A little later each time, so that it is dropped at whatever point it has come to.
            () = turns(number % 10) => {}
        }
    }
    Work::of([put("end", 1)]).done(&harness, &store).await;
    for number in 0..DROPPED {
        let (left, right) = (format!("left{number}"), format!("right{number}"));
        // A commit may still be on its way when its future is gone, so both are read until they
        // agree.
        let agreed = async {
            while harness.read(&store, &left).await != harness.read(&store, &right).await {
                tokio::task::yield_now().await;
            }
        };
        let what = format!("both writes of dropped commit {number}, or none");
        within(harness.patience(), &what, agreed).await;
    }
}

pub async fn a_failing_write_takes_its_transaction_back<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let fail = Write::Fail("no funds".to_owned());
    let failure = Work::of([put("a", 1), fail, put("b", 1)]).failed(&harness, &store).await;
    assert!(failure.contains("no funds"), "the handler's own words: {failure}");
    for name in ["a", "b"] {
        assert_eq!(harness.read(&store, name).await, None, "{name}");
    }
}

pub async fn a_panicking_write_takes_its_transaction_back<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    Work::of([put("a", 1), Write::Panic]).failed(&harness, &store).await;
    assert_eq!(harness.read(&store, "a").await, None);
    Work::of([put("b", 1)]).done(&harness, &store).await;
    assert_eq!(harness.read(&store, "b").await, Some(1), "the store goes on");
}

pub async fn bad_transactions_do_not_harm_those_beside_them<H: StoreHarness>(harness: H) {
    const ALL: usize = 60;
    let store = Arc::new(harness.fresh().await);
    let harness = Arc::new(harness);
    let mut tasks = JoinSet::new();
    for number in 0..ALL {
        let (harness, store) = (harness.clone(), store.clone());
        tasks.spawn(async move {
            let mut writes = vec![put(&format!("n{number}"), 1), add("all", 1)];
            match Kind::of(number) {
                Kind::Good => {}
                Kind::Failing => writes.push(Write::Fail("bad".to_owned())),
                Kind::Panicking => writes.push(Write::Panic),
            }
            (number, Work::of(writes).commit(&*harness, &store).await)
        });
    }
    while let Some(ended) = tasks.join_next().await {
        let (number, committed) = ended.expect("a commit answers, it does not panic");
        match (Kind::of(number), committed) {
            (Kind::Good, Ok(Committed::Done)) => {}
            (Kind::Failing | Kind::Panicking, Err(CommitError::Handler(_))) => {}
            (kind, other) => panic!("transaction {number} is {kind:?}, but got: {other:?}"),
        }
    }
    let mut good = 0;
    for number in 0..ALL {
        let written = harness.read(&store, &format!("n{number}")).await.is_some();
        assert_eq!(written, Kind::of(number) == Kind::Good, "transaction {number}");
        good += i64::from(written);
    }
    assert_eq!(harness.read(&store, "all").await, Some(good));
}

pub async fn no_increment_is_lost_among_concurrent_writers<H: StoreHarness>(harness: H) {
    const WRITERS: usize = 64;
    const INCREMENTS: usize = 20;
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let (harness, stores) = (Arc::new(harness), [Arc::new(store), Arc::new(other)]);
    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        let (harness, store) = (harness.clone(), stores[number % 2].clone());
        tasks.spawn(async move {
            for _ in 0..INCREMENTS {
                Work::of([add("counter", 1)]).done(&*harness, &store).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every increment commits");
    }
    let counted = harness.read(&stores[0], "counter").await;
    assert_eq!(counted, Some((WRITERS * INCREMENTS) as i64));
}

pub async fn a_restart_keeps_what_was_committed<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    Work::of([put("a", 1)]).done(&harness, &store).await;
    let Some(store) = harness.restart(store).await else {
        return;
    };
    assert_eq!(harness.read(&store, "a").await, Some(1));
}

/// What a transaction among many does at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Failing,
    Panicking,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 6 {
            2 => Self::Failing,
            5 => Self::Panicking,
            _ => Self::Good,
        }
    }
}

/// Lets other tasks run, so many times.
async fn turns(count: usize) {
    for _ in 0..=count {
        tokio::task::yield_now().await;
    }
}
