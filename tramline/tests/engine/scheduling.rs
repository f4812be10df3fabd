//! Named schedules: replaced, cancelled, fired once, in transactions and by several buses.

use crate::kit::{Commit, Log, Paid, Ping, SECOND, Watched, World, at_once, idle};
use std::time::Duration;
use tramline::core::clock::{Clock, Timestamp};
use tramline::core::store::{Schedules, Waiting};
use tramline::schedules::{Anew, Cancelled, Scheduled};
use tramline::{
    Bus, BusBuilder, Draft, Endpoint, ErrorKind, Failure, Memory, MessageId, Outbox, Planner,
    State, Tx,
};

const HOUR: Duration = Duration::from_secs(3600);

async fn keep(paid: Paid, id: MessageId, State(log): State<Log>) {
    log.add(format!("paid {} {id}", paid.n));
}

/// A bus that handles `Paid`, and whose schedules are kept in the world's memory.
fn bus(world: &World, log: &Log) -> BusBuilder<Memory> {
    let mail = Endpoint::new("mail").subscribe::<Paid>().concurrency(1).handle(keep);
    world.bus().schedules(&world.memory).state(log.clone()).endpoint(mail)
}

/// The numbers that were handled.
fn handled(log: &Log) -> Vec<String> {
    let number = |line: String| line.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lines().into_iter().map(number).collect()
}

#[tokio::test]
async fn a_schedule_fires_at_its_moment_and_once() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    assert_eq!(bus.schedule("a", HOUR, &Paid { n: 1 }).await.unwrap(), Scheduled::Done);
    let half = world.clock.now().after(HOUR / 2);
    bus.schedule_to("mail", "b", half, &Paid { n: 2 }).await.unwrap();
    world.wind(HOUR / 2 - Duration::from_micros(1)).await;
    assert!(log.lines().is_empty());
    world.wind(Duration::from_micros(1)).await;
    assert_eq!(handled(&log), ["2"]);
    world.wind(HOUR / 2).await;
    world.wind(3 * HOUR).await;
    assert_eq!(handled(&log), ["2", "1"]);
}

#[tokio::test]
async fn scheduling_again_replaces_the_message_and_the_moment() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    bus.schedule("a", HOUR, &Paid { n: 1 }).await.unwrap();
    idle().await;
    bus.schedule("a", SECOND, Draft::of(&Paid { n: 2 }).key("k")).await.unwrap();
    bus.schedule("b", SECOND, &Paid { n: 3 }).await.unwrap();
    bus.schedule("b", HOUR, &Paid { n: 4 }).await.unwrap();
    world.wind(SECOND).await;
    assert_eq!(handled(&log), ["2"], "an earlier one wakes the scheduler");
    world.wind(HOUR).await;
    assert_eq!(handled(&log), ["2", "4"]);
}

#[tokio::test]
async fn a_cancellation_answers_whether_it_was_in_time() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    bus.schedule("a", HOUR, &Paid { n: 1 }).await.unwrap();
    bus.schedule("b", SECOND, &Paid { n: 2 }).await.unwrap();
    assert_eq!(bus.cancel("a").await.unwrap(), Cancelled::Cancelled);
    assert_eq!(bus.cancel("a").await.unwrap(), Cancelled::Cancelled, "again");
    world.wind(SECOND).await;
    assert_eq!(bus.cancel("b").await.unwrap(), Cancelled::TooLate);
    assert_eq!(bus.cancel("c").await.unwrap(), Cancelled::NotYetKnown);
    assert_eq!(bus.cancel("c").await.unwrap(), Cancelled::NotYetKnown, "again");
    world.wind(2 * HOUR).await;
    assert_eq!(handled(&log), ["2"]);
    world.wind(24 * HOUR).await;
    for name in ["a", "b", "c"] {
        assert_eq!(bus.cancel(name).await.unwrap(), Cancelled::NotYetKnown, "{name} is forgotten");
    }
}

#[tokio::test]
async fn a_cancellation_that_overtakes_its_schedule_wins_for_a_day() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    let schedule = async |n| bus.schedule("a", SECOND, &Paid { n }).await.unwrap();
    bus.cancel("a").await.unwrap();
    assert_eq!(schedule(1).await, Scheduled::AlreadyCancelled);
    world.wind(23 * HOUR).await;
    assert_eq!(schedule(2).await, Scheduled::AlreadyCancelled);
    assert_eq!(bus.schedule(Anew("a"), SECOND, &Paid { n: 3 }).await.unwrap(), Scheduled::Done);
    world.wind(SECOND).await;
    assert_eq!(handled(&log), ["3"], "anew");
    bus.cancel("b").await.unwrap();
    world.wind(24 * HOUR).await;
    assert_eq!(bus.schedule("b", SECOND, &Paid { n: 4 }).await.unwrap(), Scheduled::Done);
    world.wind(SECOND).await;
    assert_eq!(handled(&log), ["3", "4"], "after a day");
}

#[tokio::test]
async fn what_has_fired_can_be_scheduled_again_and_has_another_id() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    for _ in 0..2 {
        bus.schedule("a", SECOND, &Paid { n: 1 }).await.unwrap();
        world.wind(SECOND).await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 2);
    assert_ne!(lines[0], lines[1]);
}

#[tokio::test]
async fn old_names_are_removed() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    bus.schedule("a", SECOND, &Paid { n: 1 }).await.unwrap();
    bus.cancel("b").await.unwrap();
    world.wind(SECOND).await;
    world.wind(25 * HOUR).await;
    world.wind(60 * SECOND).await;
    let pruned = world.memory.prune(world.clock.now(), 1000).await.unwrap();
    assert_eq!(pruned, 0, "the scheduler has done it");
}

#[tokio::test]
async fn many_schedules_are_listed_by_pages_and_leave_together() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    let paid: Vec<_> = (0..2500).map(|n| Paid { n }).collect();
    let all = paid.iter().map(|paid| (format!("{:04}", paid.n), HOUR, paid));
    let answers = bus.schedule_all(all).await.unwrap();
    assert_eq!(answers, vec![Scheduled::Done; 2500]);
    let schedules = bus.schedules().unwrap();
    let due = world.clock.now().after(HOUR);
    let page = schedules.named(Some("2497"), 10).await.unwrap();
    let waits = |name: &str| Waiting { name: name.to_owned(), due };
    assert_eq!(page, [waits("2498"), waits("2499")]);
    world.wind(HOUR).await;
    for _ in 0..20 {
        idle().await;
    }
    assert_eq!(log.len(), 2500);
    assert!(schedules.named(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bus_that_was_down_fires_what_has_come_meanwhile() {
    let (world, log) = (World::new(), Log::default());
    let first = bus(&world, &log).start().await.unwrap();
    first.schedule("a", HOUR, &Paid { n: 1 }).await.unwrap();
    let _drained = first.drain(SECOND).await.unwrap();
    assert_eq!(first.cancel("a").await.unwrap_err().kind(), ErrorKind::Closed);
    world.wind(2 * HOUR).await;
    let second = world.other_handle(&log).await;
    idle().await;
    assert_eq!(handled(&log), ["1"]);
    assert_eq!(second.cancel("a").await.unwrap(), Cancelled::TooLate);
}

impl World {
    /// As another process.
    async fn other_handle(&self, log: &Log) -> Bus {
        bus(self, log).start().await.unwrap()
    }
}

#[tokio::test]
async fn several_buses_on_one_store_fire_each_schedule_once() {
    let (world, log) = (World::new(), Log::default());
    let (one, other) = (world.other_handle(&log).await, world.other_handle(&log).await);
    for n in 0..20 {
        let (bus, far) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        bus.schedule(n.to_string(), SECOND, &Paid { n }).await.unwrap();
        if n >= 15 {
            assert_eq!(far.cancel(&n.to_string()).await.unwrap(), Cancelled::Cancelled);
        }
    }
    world.wind(SECOND).await;
    let mut numbers: Vec<u64> = handled(&log).iter().map(|n| n.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..15).collect::<Vec<_>>());
}

/// Where the transport is another database, the outbox is between.
#[tokio::test]
async fn a_store_that_is_elsewhere_keeps_schedules_too() {
    let (world, log) = (World::new(), Log::default());
    let store = world.other_memory();
    let mail = Endpoint::new("mail").subscribe::<Paid>().handle(keep);
    let builder = world.bus().state(log.clone()).endpoint(mail);
    let bus = builder.schedules(&store).start().await.unwrap();
    bus.schedule("a", SECOND, &Paid { n: 1 }).await.unwrap();
    world.wind(SECOND).await;
    assert_eq!(handled(&log), ["1"]);
}

#[tokio::test]
async fn one_that_cannot_leave_waits_and_does_not_keep_others() {
    let (world, log) = (World::new(), Log::default());
    let first = bus(&world, &log).start().await.unwrap();
    first.schedule_to("later", "lost", SECOND, &Paid { n: 1 }).await.unwrap();
    first.schedule("good", SECOND, &Paid { n: 2 }).await.unwrap();
    world.wind(SECOND).await;
    assert_eq!(handled(&log), ["2"]);
    assert_eq!(
        first.schedules().unwrap().named(None, 10).await.unwrap().len(),
        1,
        "it is not lost"
    );
    let later = Endpoint::new("later").handle(keep);
    let _second = world.bus().state(log.clone()).endpoint(later).start().await.unwrap();
    world.wind(10 * SECOND).await;
    assert_eq!(handled(&log), ["2", "1"]);
}

/// A bus whose schedules are kept in the world's memory, which answers commits as it is told.
async fn told(world: &World, log: &Log, commits: &[Commit]) -> Bus {
    let store = Watched::keeping_schedules(world.memory.clone()).then(commits.iter().copied());
    let mail = Endpoint::new("mail").subscribe::<Paid>().concurrency(1).handle(keep);
    let bus = world.bus().schedules(&store).state(log.clone()).endpoint(mail);
    bus.start().await.unwrap()
}

#[tokio::test]
async fn a_lost_answer_fires_nothing_twice_and_loses_nothing() {
    for lost in [Commit::DoneUnknown, Commit::LostUnknown, Commit::Away] {
        let (world, log) = (World::new(), Log::default());
        let bus = told(&world, &log, &[lost]).await;
        bus.schedule("a", SECOND, &Paid { n: 1 }).await.unwrap();
        world.wind(SECOND).await;
        world.wind(SECOND).await;
        assert_eq!(handled(&log), ["1"], "{lost:?}");
        assert_eq!(bus.cancel("a").await.unwrap(), Cancelled::TooLate);
    }
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_is_parted_until_one_is_to_blame() {
    let (world, log) = (World::new(), Log::default());
    let bus = told(&world, &log, &[Commit::TooLarge; 3]).await;
    for n in 1..=4 {
        bus.schedule(n.to_string(), SECOND, &Paid { n }).await.unwrap();
    }
    world.wind(SECOND).await;
    let mut left = handled(&log);
    assert_eq!(left, ["2", "3", "4"], "four, two and the first of them were refused");
    world.wind(SECOND).await;
    left.push("1".to_owned());
    assert_eq!(handled(&log), left, "after a pause");
}

async fn plan(ping: Ping, planner: Planner, _tx: Tx<Memory>) -> Result<(), Failure> {
    match ping.n {
        0 => planner.cancel("a"),
        n => planner.schedule("a", SECOND, &Paid { n }),
    }?;
    if ping.n == 7 { Err(Failure::permanent("no")) } else { Ok(()) }
}

#[tokio::test]
async fn a_handlers_schedules_and_cancellations_are_part_of_its_transaction() {
    let (world, log) = (World::new(), Log::default());
    let builder = bus(&world, &log).store(world.memory.clone());
    let planner = Endpoint::new("plan").transactional().concurrency(1).handle(plan);
    let bus = builder.endpoint(planner).start().await.unwrap();
    let mut fired = Vec::new();
    for (numbers, expected) in [(&[1][..], Some("1")), (&[7], None), (&[2, 0], None)] {
        for n in numbers {
            bus.send("plan", &Ping { n: *n }).await.unwrap();
            idle().await;
        }
        world.wind(2 * SECOND).await;
        fired.extend(expected.map(str::to_owned));
        assert_eq!(handled(&log), fired, "{numbers:?}");
    }
    assert_eq!(bus.cancel("a").await.unwrap(), Cancelled::Cancelled);
}

#[tokio::test]
async fn a_unit_of_work_schedules_and_cancels_when_it_is_committed() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).store(world.memory.clone()).start().await.unwrap();
    let begin = || async { bus.begin(&world.memory).await.unwrap() };
    let dropped = begin().await;
    dropped.schedule("dropped", SECOND, &Paid { n: 1 }).unwrap();
    drop(dropped);
    let work = begin().await;
    work.schedule("a", SECOND, &Paid { n: 2 }).unwrap();
    work.schedule_to("mail", "b", SECOND, &Paid { n: 3 }).unwrap();
    work.cancel("b").unwrap();
    work.cancel("c").unwrap();
    work.publish_after(2 * SECOND, &Paid { n: 4 }).unwrap();
    world.wind(SECOND).await;
    work.commit().await.unwrap();
    world.wind(Duration::ZERO).await;
    assert_eq!(handled(&log), ["2"]);
    assert_eq!(bus.cancel("c").await.unwrap(), Cancelled::NotYetKnown);
    assert_eq!(
        bus.schedule("c", SECOND, &Paid { n: 5 }).await.unwrap(),
        Scheduled::AlreadyCancelled
    );
    let elsewhere = world.other_memory();
    let refused = bus.begin(&elsewhere).await.unwrap().cancel("a").unwrap_err();
    assert!(refused.to_string().contains("does not keep this bus's schedules"), "{refused}");
}

async fn forward(ping: Ping, outbox: Outbox) -> Result<(), Failure> {
    outbox.publish_after(SECOND, &Paid { n: ping.n })?;
    outbox.send_at(Timestamp::from_millis(1_003_000), "mail", &Paid { n: ping.n + 1 })
}

#[tokio::test]
async fn what_needs_no_name_is_sent_at_a_moment_or_after_a_time() {
    let (world, log) = (World::new(), Log::default());
    let forwarding = Endpoint::new("forward").handle(forward);
    let bus = bus(&world, &log).endpoint(forwarding).start().await.unwrap();
    let begin = world.clock.now();
    bus.send("forward", &Ping { n: 1 }).await.unwrap();
    bus.publish_at(begin.after(2 * SECOND), &Paid { n: 3 }).await.unwrap();
    bus.send_after(4 * SECOND, "mail", &Paid { n: 4 }).await.unwrap();
    bus.publish_after(5 * SECOND, &Paid { n: 5 }).await.unwrap();
    bus.send_at(begin.before(59 * SECOND), "mail", &Paid { n: 0 }).await.unwrap();
    for _ in 0..5 {
        world.wind(SECOND).await;
    }
    assert_eq!(handled(&log), ["0", "1", "3", "2", "4", "5"]);
}

#[tokio::test]
async fn a_time_that_is_long_past_and_a_bad_name_are_refused() {
    let (world, log) = (World::new(), Log::default());
    let bus = bus(&world, &log).start().await.unwrap();
    let past = world.clock.now().before(61 * SECOND);
    let paid = Paid { n: 1 };
    let refused = [
        bus.publish_at(past, &paid).await.unwrap_err(),
        bus.send_at(past, "mail", &paid).await.unwrap_err(),
        bus.schedule("a", past, &paid).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("61s in the past"), "{error}");
    }
    let name = bus.schedule("", SECOND, &paid).await.unwrap_err().to_string();
    assert!(name.contains("1 to 255 bytes"), "{name}");
    let queue = bus.schedule_to("a b", "a", SECOND, &paid).await.unwrap_err();
    assert_eq!(queue.kind(), ErrorKind::Refused);
    bus.schedule("a", past.after(2 * SECOND), &paid).await.unwrap();
    idle().await;
    assert_eq!(handled(&log), ["1"], "clocks may differ by less");
}

#[tokio::test]
async fn without_a_store_that_keeps_schedules_a_bus_says_so() {
    let world = World::new();
    let bus = world.bus().start().await.unwrap();
    let error = bus.cancel("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("add `.schedules(&store)`"), "{error}");

    let watched = Watched::on(world.other_memory());
    let refused = world.bus().schedules(&watched).start().await.unwrap_err().to_string();
    assert!(refused.contains("keeps no schedules"), "{refused}");

    let planning = || Endpoint::new("plan").transactional().handle(plan);
    let refused = world.bus().store(world.memory.clone()).endpoint(planning()).start();
    let refused = at_once(refused).await.unwrap_err().to_string();
    assert!(refused.contains("asks for Planner, and no store keeps schedules"), "{refused}");

    let elsewhere = world.other_memory();
    let bus = world.bus().store(world.memory.clone()).schedules(&elsewhere).endpoint(planning());
    let refused = bus.start().await.unwrap_err().to_string();
    assert!(refused.contains("and the schedules are in"), "{refused}");
}
