//! What recurs: one message for each moment, whatever starts, stops and dies.

use crate::kit::{Commit, Log, Paid, Ping, SECOND, Watched, World, idle};
use std::time::Duration;
use tramline::core::clock::{Clock, Timestamp};
use tramline::schedules::{RecurringSchedule, SCHEDULED_FOR};
use tramline::{Bus, BusBuilder, CatchUp, Endpoint, Headers, Memory, MessageId, Recurring, State};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn keep(_ping: Ping, id: MessageId, headers: Headers, State(log): State<Log>) {
    let moment = headers.get(SCHEDULED_FOR).and_then(|moment| moment.as_int());
    log.add(format!("{} {id}", moment.unwrap()));
}

fn bus(world: &World, log: &Log) -> BusBuilder<Memory> {
    let ticks = Endpoint::new("ticks").subscribe::<Ping>().concurrency(1).handle(keep);
    world.bus().schedules(&world.memory).state(log.clone()).endpoint(ticks)
}

async fn recur(world: &World, log: &Log, recurring: Recurring) -> Bus {
    bus(world, log).recurring("tick", recurring, Ping { n: 1 }).start().await.unwrap()
}

async fn stop(bus: Bus) {
    let _drained = bus.drain(SECOND).await.unwrap();
}

/// The moments that were handled, in seconds since `from`.
fn moments(log: &Log, from: Timestamp) -> Vec<i64> {
    let moment = |line: String| line.split(' ').next().unwrap().parse::<i64>().unwrap();
    log.lines().into_iter().map(|line| (moment(line) - from.as_millis()) / 1000).collect()
}

#[tokio::test]
async fn an_interval_has_one_message_for_each_moment_however_many_instances_there_are() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let _first = recur(&world, &log, Recurring::every(MINUTE)).await;
    world.wind(30 * SECOND).await;
    let _second = recur(&world, &log, Recurring::every(MINUTE)).await;
    let _third = recur(&world, &log, Recurring::every(MINUTE).to_queue("ticks")).await;
    for _ in 0..6 {
        world.wind(30 * SECOND).await;
    }
    assert_eq!(moments(&log, from), [60, 120, 180]);
}

#[tokio::test]
async fn a_restart_changes_no_moment() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    for _ in 0..5 {
        let bus = recur(&world, &log, Recurring::every(MINUTE)).await;
        world.wind(25 * SECOND).await;
        stop(bus).await;
    }
    assert_eq!(moments(&log, from), [60, 120]);
}

/// Instances run from 0 s to 90 s, and from 330 s on, each minute.
async fn after_downtime(catch_up: CatchUp) -> Vec<i64> {
    let (world, log) = (World::new(), Log::default());
    let (from, recurring) = (world.clock.now(), Recurring::every(MINUTE).after_downtime(catch_up));
    let bus = recur(&world, &log, recurring.clone()).await;
    world.wind(60 * SECOND).await;
    world.wind(30 * SECOND).await;
    stop(bus).await;
    world.wind(275 * SECOND).await;
    let _bus = recur(&world, &log, recurring).await;
    idle().await;
    world.wind(60 * SECOND).await;
    moments(&log, from)
}

#[tokio::test]
async fn after_downtime_there_is_one_message_or_all_or_none() {
    assert_eq!(after_downtime(CatchUp::Once).await, [60, 360, 420]);
    assert_eq!(after_downtime(CatchUp::All).await, [60, 120, 180, 240, 300, 360, 420]);
    assert_eq!(after_downtime(CatchUp::None).await, [60, 360, 420], "6 s are in time");
}

#[tokio::test]
async fn less_than_a_minute_is_no_downtime() {
    for catch_up in [CatchUp::Once, CatchUp::None, CatchUp::All] {
        let (world, log) = (World::new(), Log::default());
        let from = world.clock.now();
        let every = || Recurring::every(10 * SECOND).after_downtime(catch_up);
        stop(recur(&world, &log, every()).await).await;
        world.wind(35 * SECOND).await;
        let _bus = recur(&world, &log, every()).await;
        idle().await;
        assert_eq!(moments(&log, from), [10, 20, 30], "{catch_up:?}");
    }
}

#[tokio::test]
async fn of_a_longer_downtime_that_is_left_out_the_last_minute_is_in_time() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let every = || Recurring::every(20 * SECOND).after_downtime(CatchUp::None);
    stop(recur(&world, &log, every()).await).await;
    world.wind(205 * SECOND).await;
    let _bus = recur(&world, &log, every()).await;
    idle().await;
    assert_eq!(moments(&log, from), [160, 180, 200]);
}

#[tokio::test]
async fn what_is_more_than_a_minute_late_is_left_out_where_that_is_wanted() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let hourly = || Recurring::every(HOUR).after_downtime(CatchUp::None);
    stop(recur(&world, &log, hourly()).await).await;
    world.wind(HOUR + 61 * SECOND).await;
    let _bus = recur(&world, &log, hourly()).await;
    idle().await;
    assert!(log.lines().is_empty());
    world.wind(HOUR - 61 * SECOND).await;
    assert_eq!(moments(&log, from), [7200]);
}

#[tokio::test]
async fn much_is_caught_up_with_in_steps_and_in_order() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let every = || Recurring::every(SECOND).after_downtime(CatchUp::All);
    stop(recur(&world, &log, every()).await).await;
    world.wind(250 * SECOND).await;
    let _bus = recur(&world, &log, every()).await;
    idle().await;
    assert_eq!(moments(&log, from), (1..=250).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_paused_is_silent_through_restarts_and_goes_on_from_its_next_moment() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let every = || Recurring::every(MINUTE).after_downtime(CatchUp::All);
    let bus = recur(&world, &log, every()).await;
    world.wind(MINUTE).await;
    assert!(bus.schedules().unwrap().pause("tick").await.unwrap());
    assert!(!bus.schedules().unwrap().pause("tock").await.unwrap(), "there is none");
    world.wind(MINUTE).await;
    stop(bus).await;
    let bus = recur(&world, &log, every()).await;
    for _ in 0..3 {
        world.wind(MINUTE).await;
    }
    let listed = bus.schedules().unwrap().recurring().await.unwrap();
    let next = from.after(6 * MINUTE);
    let (name, rhythm) = ("tick".to_owned(), "every 60s".to_owned());
    assert_eq!(listed, [RecurringSchedule { name, rhythm, next, is_paused: true }]);
    assert!(bus.schedules().unwrap().resume("tick").await.unwrap());
    idle().await;
    world.wind(MINUTE).await;
    assert_eq!(moments(&log, from), [60, 360]);
}

#[tokio::test]
async fn a_rhythm_that_is_changed_counts_from_then_on() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let old = recur(&world, &log, Recurring::every(HOUR)).await;
    world.wind(MINUTE).await;
    let new = recur(&world, &log, Recurring::every(MINUTE)).await;
    world.wind(MINUTE).await;
    assert_eq!(moments(&log, from), [120], "the older instance runs still");
    stop(new).await;
    for _ in 0..4 {
        world.wind(30 * SECOND).await;
    }
    let taken_over = "nobody is left who declares it so, and what they have left is not lost";
    assert_eq!(moments(&log, from), [120, 180], "{taken_over}");
    let listed = old.schedules().unwrap().recurring().await.unwrap();
    assert_eq!((&*listed[0].rhythm, listed[0].next), ("every 3600s", from.after(3780 * SECOND)));
    world.wind(HOUR).await;
    assert_eq!(moments(&log, from), [120, 180, 3780], "the older one goes on");
    stop(old).await;
}

#[tokio::test]
async fn after_an_outage_of_the_store_nobody_is_taken_for_gone_at_once() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let store = Watched::keeping_schedules(world.memory.clone());
    let hourly = ("tick", Recurring::every(HOUR), Ping { n: 1 });
    let older = world.bus().schedules(&store).recurring(hourly.0, hourly.1, hourly.2);
    let older = older.start().await.unwrap();
    stop(recur(&world, &log, Recurring::every(MINUTE)).await).await;
    world.wind(119 * SECOND).await;
    store.commits.lock().push_back(Commit::Away);
    older.schedule("other", Duration::ZERO, &Paid { n: 2 }).await.unwrap();
    idle().await;
    assert!(store.commits.lock().is_empty(), "it was away");
    let ticks = async || {
        let queued = world.in_queue("ticks").await;
        queued.len()
    };
    for _ in 0..5 {
        world.wind(10 * SECOND).await;
    }
    assert_eq!(ticks().await, 0, "the others may have been kept by the same");
    world.wind(15 * SECOND).await;
    assert_eq!(ticks().await, 1);
    let _bus = recur(&world, &log, Recurring::every(HOUR)).await;
    idle().await;
    assert_eq!(moments(&log, from), [60], "what was left is not lost");
}

#[tokio::test]
async fn a_takeover_is_no_downtime() {
    for catch_up in [CatchUp::Once, CatchUp::None] {
        let (world, log) = (World::new(), Log::default());
        let from = world.clock.now();
        let hourly = Recurring::every(HOUR).after_downtime(catch_up);
        let _older = recur(&world, &log, hourly).await;
        stop(recur(&world, &log, Recurring::every(10 * SECOND)).await).await;
        world.wind(MINUTE).await;
        world.wind(11 * SECOND).await;
        assert_eq!(moments(&log, from), [10], "{catch_up:?}");
    }
}

#[tokio::test]
async fn an_id_is_made_of_the_name_and_its_moment() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log);
    let every = || Recurring::every(MINUTE);
    let bus =
        bus.recurring("tick", every(), Ping { n: 1 }).recurring("tock", every(), Ping { n: 2 });
    let _bus = bus.start().await.unwrap();
    world.wind(MINUTE).await;
    world.wind(MINUTE).await;
    let ids: std::collections::HashSet<_> = log.lines().into_iter().collect();
    assert_eq!((log.len(), ids.len()), (4, 4));
}

#[tokio::test]
async fn one_that_cannot_leave_does_not_keep_others() {
    let (world, log) = (World::new(), Log::default());
    let from = world.clock.now();
    let lost = Recurring::every(MINUTE).to_queue("nowhere");
    let bus = bus(&world, &log).recurring("lost", lost, Ping { n: 1 });
    let _bus =
        bus.recurring("tick", Recurring::every(MINUTE), Ping { n: 2 }).start().await.unwrap();
    world.wind(MINUTE).await;
    world.wind(MINUTE).await;
    assert_eq!(moments(&log, from), [60, 120]);
}

#[tokio::test]
async fn what_can_never_recur_is_refused_when_it_is_declared() {
    let (world, log) = (World::new(), Log::default());
    let every = || Recurring::every(MINUTE);
    let bus = bus(&world, &log)
        .recurring("zero", Recurring::every(Duration::ZERO), Ping { n: 1 })
        .recurring("twice", every(), Ping { n: 1 })
        .recurring("twice", every(), Ping { n: 1 })
        .recurring("queue", every().to_queue("a b"), Ping { n: 1 })
        .recurring("", every(), Ping { n: 1 });
    let refused = bus.start().await.unwrap_err();
    let problems = refused.problems();
    assert_eq!(problems.len(), 4, "{problems:?}");
    for (index, what) in
        ["an interval of 0ns is too short", "another one of this name", "a b", "1 to 255 bytes"]
            .into_iter()
            .enumerate()
    {
        assert!(problems[index].contains(what), "{what}: {problems:?}");
    }
    let refused = world.bus().recurring("tick", every(), Ping { n: 1 }).start().await.unwrap_err();
    assert!(refused.to_string().contains("and no store keeps schedules"), "{refused}");
}

#[cfg(feature = "cron")]
mod cron {
    use super::*;
    use tramline::ErrorKind;

    const QUARTER: Duration = Duration::from_secs(15 * 60);

    /// The moments of a day in Berlin that begins at `from`, in UTC.
    async fn day(expression: &str, from: i64) -> Vec<i64> {
        let (world, log) = (World::new(), Log::default());
        let from = Timestamp::from_millis(from * 1000);
        world.clock.advance(from.since(world.clock.now()));
        let recurring = || Recurring::cron(expression, "Europe/Berlin").unwrap();
        let _buses =
            [recur(&world, &log, recurring()).await, recur(&world, &log, recurring()).await];
        for _ in 0..25 * 4 {
            world.clock.advance(QUARTER);
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        }
        moments(&log, from).into_iter().map(|seconds| seconds / 60).collect()
    }

    /// 2026-03-28T23:00:00Z: from 2:00 to 3:00, an hour later, there is nothing.
    #[tokio::test]
    async fn on_the_day_with_23_hours_what_is_left_out_comes_behind_the_gap() {
        const MIDNIGHT: i64 = 1_774_738_800;
        assert_eq!(day("30 2 * * *", MIDNIGHT).await, [120]);
        assert_eq!(day("0 4 * * *", MIDNIGHT).await, [180]);
        assert_eq!(day("30 1-3 * * *", MIDNIGHT).await, [90, 120, 150, 1470]);
    }

    /// 2026-10-24T22:00:00Z: the hour from 2:00 on comes twice.
    #[tokio::test]
    async fn on_the_day_with_25_hours_what_comes_twice_counts_once() {
        const MIDNIGHT: i64 = 1_792_879_200;
        assert_eq!(day("30 2 * * *", MIDNIGHT).await, [150]);
        assert_eq!(day("0 4 * * *", MIDNIGHT).await, [300]);
    }

    #[tokio::test]
    async fn downtime_of_years_is_one_message() {
        let (world, log) = (World::new(), Log::default());
        let minutely = || Recurring::cron("* * * * *", "UTC").unwrap();
        stop(recur(&world, &log, minutely()).await).await;
        world.wind(20 * 366 * 24 * HOUR).await;
        let now = world.clock.now();
        let _bus = recur(&world, &log, minutely()).await;
        idle().await;
        let moments = moments(&log, now);
        assert_eq!(moments.len(), 1);
        assert!(moments[0] > -60 && moments[0] <= 0, "{moments:?}");
    }

    #[test]
    fn bad_expressions_and_zones_are_refused() {
        for (expression, zone) in
            [("61 * * * *", "UTC"), ("0 3 * * *", "Europe/Berlni"), ("0 0 30 2 *", "UTC")]
        {
            let error = Recurring::cron(expression, zone).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{expression} {zone}");
        }
    }
}
