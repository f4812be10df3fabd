//! The queue inside this process: bounds, workers, limits, stops.

use crate::kit::{Log, SECOND, at_once, idle};
use futures_util::FutureExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{Barrier, Semaphore};
use tramline::background::{
    BackgroundQueue, BackgroundQueueBuilder, NotPushed, Pushed, Stopped, Task, WhenFull,
};
use tramline::core::clock::ManualClock;
use tramline::{BoxFuture, Cancel, ErrorKind, Failure};

/// A queue of words whose work waits at a gate, and what was let through.
struct World {
    clock: ManualClock,
    gate: Arc<Semaphore>,
    log: Log,
}

impl World {
    fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        Self { clock: ManualClock::default(), gate, log: Log::default() }
    }

    fn named(&self) -> BackgroundQueueBuilder {
        BackgroundQueue::named("words").clock(self.clock.clone())
    }

    fn start(&self, builder: BackgroundQueueBuilder) -> BackgroundQueue<&'static str> {
        let (gate, log) = (self.gate.clone(), self.log.clone());
        let work = move |word: &'static str, _: Cancel| {
            let (gate, log) = (gate.clone(), log.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                log.add(word);
            }
        };
        builder.start(work).unwrap()
    }

    async fn open(&self, times: usize) {
        self.gate.add_permits(times);
        idle().await;
    }
}

const IN: Result<Pushed<&str>, NotPushed<&str>> = Ok(Pushed::In);

#[tokio::test]
async fn one_worker_does_one_item_after_the_other_in_their_order() {
    let world = World::new();
    let queue = world.start(world.named().capacity(3));
    for word in ["a", "b", "c"] {
        assert_eq!(at_once(queue.push(word)).await, IN);
    }
    idle().await;
    let figures = queue.figures();
    assert_eq!((figures.depth, figures.running, figures.done), (2, 1, 0));
    world.open(2).await;
    assert_eq!(world.log.lines(), ["a", "b"]);
    world.open(1).await;
    assert_eq!(world.log.lines(), ["a", "b", "c"]);
    assert_eq!(queue.figures().done, 3);
}

/// Pushed one behind the other before any worker could run.
#[tokio::test]
async fn as_many_items_are_at_work_as_there_are_workers() {
    let together = Arc::new(Barrier::new(4));
    let met = together.clone();
    let work = move |_: u32, _: Cancel| {
        let met = met.clone();
        async move {
            met.wait().await;
        }
    };
    let queue = BackgroundQueue::named("meetings").workers(3).start(work).unwrap();
    for n in 0..3 {
        assert!(matches!(queue.try_push(n), Ok(Pushed::In)));
    }
    at_once(together.wait()).await;
}

#[tokio::test]
async fn who_pushes_into_a_full_queue_waits_for_room_in_turn_and_may_give_up() {
    let world = World::new();
    let queue = world.start(world.named().capacity(1));
    assert_eq!(at_once(queue.push("a")).await, IN);
    idle().await;
    assert_eq!(at_once(queue.push("b")).await, IN, "`a` is at work, and leaves room");
    assert_eq!(queue.try_push("x"), Err(NotPushed::Full("x")));
    let push = |word| {
        tokio::spawn({
            let queue = queue.clone();
            async move { queue.push(word).await }
        })
    };
    let gives_up = push("gives up");
    idle().await;
    let waits = push("c");
    idle().await;
    assert!(!gives_up.is_finished() && !waits.is_finished());
    gives_up.abort();
    world.open(1).await;
    assert_eq!(at_once(waits).await.unwrap(), IN);
    world.open(10).await;
    assert_eq!(world.log.lines(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_full_queue_gives_the_item_back_or_lets_another_one_leave() {
    let full = async |when_full| {
        let world = World::new();
        let queue = world.start(world.named().capacity(2).when_full(when_full));
        for word in ["at work", "old", "new"] {
            assert_eq!(at_once(queue.push(word)).await, IN);
            idle().await;
        }
        let pushed = at_once(queue.push("more")).await;
        let figures = queue.figures();
        world.open(10).await;
        (pushed, world.log.lines(), (figures.depth, figures.displaced, figures.rejected))
    };
    let (pushed, done, counts) = full(WhenFull::Reject).await;
    assert_eq!(pushed, Err(NotPushed::Full("more")));
    assert_eq!((done, counts), (["at work", "old", "new"].map(String::from).to_vec(), (2, 0, 1)));
    let (pushed, done, counts) = full(WhenFull::DropNewest).await;
    assert_eq!(pushed, Ok(Pushed::InPlaceOf("new")));
    assert_eq!((done, counts), (["at work", "old", "more"].map(String::from).to_vec(), (2, 1, 0)));
    let (pushed, done, counts) = full(WhenFull::DropOldest).await;
    assert_eq!(pushed, Ok(Pushed::InPlaceOf("old")));
    assert_eq!((done, counts), (["at work", "new", "more"].map(String::from).to_vec(), (2, 1, 0)));
}

/// Its text panics.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

/// Panics when it is dropped, unless that happens in another panic.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[tokio::test]
async fn nothing_that_a_task_does_ends_its_worker() {
    let _logs = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_writer(std::io::sink).finish(),
    );
    let clock = ManualClock::default();
    let builder = BackgroundQueue::named("tasks").clock(clock.clone()).time_limit(SECOND);
    let queue = builder.start_tasks().unwrap();
    let fails = |_: Cancel| async { Err::<(), _>(Failure::retryable("no")) };
    let _ = queue.spawn(fails).await.unwrap();
    let _ = queue.spawn(|_| async { Err::<(), Failure>(Unspeakable.into()) }).await.unwrap();
    let _ =
        queue.spawn(|_| async { assert!(std::hint::black_box(false), "at work") }).await.unwrap();
    let panics_at_once = |_: Cancel| -> std::future::Ready<()> { panic!("at once") };
    let _ = queue.spawn(panics_at_once).await.unwrap();
    let never = |_: Cancel| async {
        let _grenade = Grenade;
        std::future::pending::<()>().await;
    };
    let _ = queue.spawn(never).await.unwrap();
    let bomb = |_: Cancel| async {
        if std::hint::black_box(true) {
            std::panic::panic_any(Grenade);
        }
    };
    idle().await;
    assert_eq!(queue.figures().running, 1, "the last one hangs");
    clock.advance(SECOND);
    idle().await;
    let _ = queue.spawn(bomb).await.unwrap();
    let (done, is_done) = tokio::sync::oneshot::channel();
    let _ = queue
        .spawn(|_| async move { done.send(()).map_err(|()| Failure::permanent("gone")) })
        .await
        .unwrap();
    at_once(is_done).await.unwrap();
    idle().await;
    let figures = queue.figures();
    assert_eq!((figures.done, figures.failed, figures.running), (1, 6, 0));
    assert!((figures.error_rate() - 6.0 / 7.0).abs() < 1e-9);
    assert_eq!(figures.working_time, SECOND);
    assert_eq!(figures.mean_time(), Some(SECOND / 7));
}

#[tokio::test]
async fn work_over_its_time_limit_is_dropped_and_what_it_has_spawned_is_told() {
    let (clock, log) = (ManualClock::default(), Log::default());
    let builder = BackgroundQueue::named("slow").clock(clock.clone()).time_limit(2 * SECOND);
    let queue = builder.start_tasks().unwrap();
    let told = log.clone();
    let hangs = move |cancel: Cancel| async move {
        tokio::spawn(async move {
            cancel.cancelled().await;
            told.add("told");
        });
        std::future::pending::<()>().await;
    };
    let _ = queue.spawn(hangs).await.unwrap();
    idle().await;
    clock.advance(2 * SECOND - Duration::from_micros(1));
    idle().await;
    assert_eq!((queue.figures().running, log.len()), (1, 0));
    clock.advance(Duration::from_micros(1));
    idle().await;
    assert_eq!((queue.figures().running, queue.figures().failed), (0, 1));
    assert_eq!(log.lines(), ["told"]);
}

#[tokio::test]
async fn a_stop_lets_what_is_at_work_finish_and_answers_what_was_left() {
    let world = World::new();
    let queue = world.start(world.named().capacity(2));
    for word in ["a", "b", "c"] {
        assert_eq!(at_once(queue.push(word)).await, IN);
        idle().await;
    }
    let waits = tokio::spawn({
        let queue = queue.clone();
        async move { queue.push("d").await }
    });
    idle().await;
    let stops = tokio::spawn({
        let queue = queue.clone();
        async move { queue.stop(SECOND).await }
    });
    idle().await;
    assert_eq!(at_once(waits).await.unwrap(), Err(NotPushed::Stopped("d")));
    assert_eq!(at_once(queue.push("e")).await, Err(NotPushed::Stopped("e")));
    assert_eq!(queue.try_push("f"), Err(NotPushed::Stopped("f")));
    assert!(!stops.is_finished(), "`a` is still at work");
    world.open(10).await;
    let stopped = at_once(stops).await.unwrap();
    assert_eq!(stopped, Stopped { left: vec!["b", "c"], cut_short: 0 });
    assert_eq!(world.log.lines(), ["a"]);
    let again = at_once(queue.stop(SECOND)).await;
    assert_eq!(again, Stopped { left: vec![], cut_short: 0 });
}

#[tokio::test]
async fn a_stop_drops_what_is_at_work_when_its_limit_is_over() {
    let world = World::new();
    let queue = world.start(world.named().workers(2));
    for word in ["a", "b", "c"] {
        assert_eq!(at_once(queue.push(word)).await, IN);
    }
    idle().await;
    let stops = tokio::spawn({
        let queue = queue.clone();
        async move { queue.stop(SECOND).await }
    });
    idle().await;
    world.clock.advance(SECOND);
    let stopped = at_once(stops).await.unwrap();
    assert_eq!(stopped, Stopped { left: vec!["c"], cut_short: 2 });
    world.open(10).await;
    assert_eq!(world.log.len(), 0);
    assert_eq!(queue.figures().running, 0);
}

#[tokio::test]
async fn what_waits_is_done_when_nobody_can_push_any_more() {
    let world = World::new();
    let queue = world.start(world.named());
    for word in ["a", "b"] {
        assert_eq!(at_once(queue.push(word)).await, IN);
    }
    drop(queue.clone());
    drop(queue);
    world.open(2).await;
    assert_eq!(world.log.lines(), ["a", "b"]);
    assert_eq!(Arc::strong_count(&world.gate), 1, "the worker has ended");
}

#[tokio::test]
async fn the_age_of_what_waits_longest_is_seen() {
    let world = World::new();
    let queue = world.start(world.named());
    assert_eq!(queue.figures().oldest_age, None);
    for word in ["at work", "a", "b"] {
        assert_eq!(at_once(queue.push(word)).await, IN);
        idle().await;
        world.clock.advance(SECOND);
    }
    assert_eq!(queue.figures().oldest_age, Some(2 * SECOND));
    world.open(1).await;
    assert_eq!(queue.figures().oldest_age, Some(SECOND));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_when_it_is_declared() {
    let builder = BackgroundQueue::named("").capacity(0).workers(0).time_limit(Duration::ZERO);
    let error = builder.start_tasks().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let text = error.to_string();
    for wrong in ["no name", "a capacity of 0", "0 workers", "a time limit of 0"] {
        assert!(text.contains(wrong), "{text}");
    }
    let outside = std::thread::spawn(|| BackgroundQueue::named("q").start_tasks().unwrap_err());
    let text = outside.join().unwrap().to_string();
    assert!(text.contains("`q`") && text.contains("no runtime of tokio"), "{text}");
}

/// Many who push, give up and stop at once, on several threads: each item is in one place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_item_is_done_once_or_comes_back() {
    const PUSHERS: usize = 16;
    const EACH: usize = 2_000;
    for when_full in [WhenFull::Wait, WhenFull::Reject, WhenFull::DropNewest, WhenFull::DropOldest]
    {
        let seen: Arc<[AtomicU32]> = (0..PUSHERS * EACH).map(|_| AtomicU32::new(0)).collect();
        let done = Arc::new(AtomicU32::new(0));
        let (handled, counted) = (seen.clone(), done.clone());
        let work = move |n: usize, _: Cancel| {
            handled[n].fetch_add(1, SeqCst);
            counted.fetch_add(1, SeqCst);
            std::future::ready(())
        };
        let builder = BackgroundQueue::named("storm").capacity(8).workers(4);
        let queue = builder.when_full(when_full).start(work).unwrap();
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let (queue, seen) = (queue.clone(), seen.clone());
                tokio::spawn(async move {
                    for n in pusher * EACH..(pusher + 1) * EACH {
                        let push = queue.push(n);
                        // Some have no patience at all.
                        let pushed = match n % 3 {
                            0 => push.now_or_never().unwrap_or(Err(NotPushed::Full(n))),
                            _ => push.await,
                        };
                        match pushed {
                            Ok(Pushed::In) => {}
                            Ok(Pushed::InPlaceOf(back)) => _ = seen[back].fetch_add(1, SeqCst),
                            Err(back) => _ = seen[back.into_item()].fetch_add(1, SeqCst),
                        }
                    }
                })
            })
            .collect();
        // In the midst of it, if some are still at it then.
        while done.load(SeqCst) < EACH as u32 && !pushers.iter().all(|pusher| pusher.is_finished())
        {
            tokio::task::yield_now().await;
        }
        let stopped = queue.stop(SECOND).await;
        stopped.left.iter().for_each(|n| _ = seen[*n].fetch_add(1, SeqCst));
        for pusher in pushers {
            pusher.await.unwrap();
        }
        let wrong = seen.iter().filter(|seen| seen.load(SeqCst) != 1).count();
        assert_eq!(wrong, 0, "{when_full:?}");
        assert!(done.load(SeqCst) > 0);
    }
}

/// By the machine's own clock and timer.
#[tokio::test]
async fn work_that_is_always_ready_is_over_its_time_limit_as_well_and_starves_nobody() {
    let limit = Duration::from_millis(20);
    let queue = BackgroundQueue::named("busy").time_limit(limit).start_tasks().unwrap();
    let _ = queue.spawn(|_| busy()).await.unwrap();
    at_once(async {
        while queue.figures().failed == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let again = queue.clone();
    let _ = queue.spawn(move |_| begets(again)).await.unwrap();
    let stopped = at_once(queue.stop(SECOND)).await;
    assert_eq!(stopped.cut_short, 0);
}

async fn busy() {
    loop {
        tokio::task::coop::consume_budget().await;
    }
}

/// Work that makes more work, and never waits.
fn begets(queue: BackgroundQueue<Task>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let next = queue.clone();
        let _ = queue.try_push(Task::new(move |_| begets(next)));
    })
}
