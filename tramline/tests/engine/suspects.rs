//! What may kill the process is handled while nothing else runs in it.

use crate::kit::{Log, Ping, SECOND, World, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Semaphore;
use tramline::pipeline::PoisonLane;
use tramline::{Bus, Endpoint, Failure, Item, MessageId, QueueName, Retry, State};

/// The message that kills the process which handles it.
const KILLER: u64 = 666;

/// Handlers wait here.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// Gets through the gate, but for the killer, which never comes back from its handler.
async fn survive(ping: Ping, State(log): State<Log>, State(gate): State<Gate>) {
    log.add(format!("begin {}", ping.n));
    if ping.n == KILLER {
        std::future::pending::<()>().await;
    }
    gate.pass().await;
    log.add(format!("end {}", ping.n));
}

/// One life of a process: a runtime, a handle on the memory, and a bus on both.
struct Process {
    runtime: tokio::runtime::Runtime,
    world: World,
    bus: Bus,
}

impl Process {
    fn start(world: &World, log: &Log, gate: &Gate, endpoint: Endpoint) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let memory = world.memory.clone();
        let bus = world.bus_on(memory.clone()).store(memory.clone());
        let bus = bus.state(log.clone()).state(gate.clone());
        let bus = runtime.block_on(bus.endpoint(endpoint).start()).unwrap();
        Self { runtime, world: world.clone(), bus }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Dies as it stands.
    fn kill(self) {
        self.world.memory.expire_leases(&QueueName::new("q").unwrap());
        drop(self.runtime);
    }
}

fn endpoint() -> Endpoint {
    Endpoint::new("q").concurrency(4).retry(Retry::fixed(SECOND)).handle(survive)
}

fn id_of(n: u64) -> MessageId {
    format!("ping-{n}").parse().unwrap()
}

/// Lets processes die until everything in `q` has been handed out twice in vain.
fn accuse(world: &World, numbers: &[u64]) {
    for life in 0..2 {
        let gate = Gate::new();
        let process = Process::start(world, &Log::default(), &gate, endpoint());
        for &n in numbers.iter().filter(|_| life == 0) {
            process.run(async { process.bus.send("q", &Ping { n }).id(id_of(n)).await.unwrap() });
        }
        process.run(idle());
        process.kill();
    }
}

#[test]
fn a_killer_is_dead_lettered_after_three_trials_and_the_innocent_are_handled() {
    let (world, gate) = (World::new(), Gate::new());
    gate.0.add_permits(1_000);
    accuse(&world, &[1, KILLER, 2]);
    for life in 1..=3 {
        let log = Log::default();
        let process = Process::start(&world, &log, &gate, endpoint());
        process.run(idle());
        let lines = log.lines();
        assert_eq!(lines.last().unwrap(), "begin 666", "it is alone: {lines:?}");
        assert_eq!(lines.len(), if life == 1 { 3 } else { 1 }, "{lines:?}");
        process.kill();
    }
    let log = Log::default();
    let process = Process::start(&world, &log, &gate, endpoint());
    process.run(idle());
    let dead = process.run(world.dead("q"));
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures, dead.len()), ("poison", 0, 1));
    let note = &death.history.notes()[0].error;
    assert!(note.contains("alone 3 times"), "{note}");
    assert_eq!(process.run(world.depth("q")), [0, 0, 0, 1]);
}

#[test]
fn a_suspect_waits_for_those_at_work_and_everybody_else_for_it() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let process = Process::start(&world, &log, &gate, endpoint());
    process.run(async {
        idle().await;
        assert_eq!(log.lines(), ["begin 1"]);
        process.bus.send("q", &Ping { n: 2 }).await.unwrap();
        idle().await;
        assert_eq!(log.lines(), ["begin 1"], "nothing runs beside a suspect");
        gate.0.add_permits(1);
        idle().await;
        assert_eq!(log.lines(), ["begin 1", "end 1", "begin 2"]);
        gate.0.add_permits(1);
        idle().await;
        assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
    });
}

#[test]
fn what_expires_while_it_waits_for_a_suspect_is_not_handled() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let process = Process::start(&world, &log, &gate, endpoint());
    process.run(async {
        idle().await;
        process.bus.send("q", &Ping { n: 2 }).ttl(SECOND).await.unwrap();
        idle().await;
        world.wind(SECOND).await;
        gate.0.add_permits(1);
        idle().await;
        assert_eq!(log.lines(), ["begin 1", "end 1"]);
        let dead = world.dead("q").await;
        assert_eq!(dead[0].death.as_ref().unwrap().reason.as_str(), "expired");
        assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
    });
}

#[test]
fn a_suspect_does_not_begin_before_those_at_work_have_ended() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    let other = World::new();
    accuse(&world, &[1]);
    let lane = PoisonLane::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let start = |world: &World| {
            let bus = world.bus().poison_lane(lane.clone());
            bus.state(log.clone()).state(gate.clone()).endpoint(endpoint()).start()
        };
        let busy = start(&other).await.unwrap();
        busy.send("q", &Ping { n: 7 }).await.unwrap();
        idle().await;
        let _accused = start(&world).await.unwrap();
        idle().await;
        assert_eq!(log.lines(), ["begin 7"], "two buses of one process share its lane");
        gate.0.add_permits(1);
        idle().await;
        assert_eq!(log.lines(), ["begin 7", "end 7", "begin 1"]);
    });
}

#[test]
fn a_suspect_gives_way_to_handlers_that_do_not_end() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let other = World::new();
    let lane = PoisonLane::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let start = |world: &World| {
            let bus = world.bus().poison_lane(lane.clone());
            bus.state(log.clone()).state(gate.clone()).endpoint(endpoint()).start()
        };
        let busy = start(&other).await.unwrap();
        busy.send("q", &Ping { n: KILLER }).await.unwrap();
        idle().await;
        let _accused = start(&world).await.unwrap();
        idle().await;
        busy.send("q", &Ping { n: 2 }).await.unwrap();
        idle().await;
        assert_eq!(log.lines(), ["begin 666"], "the suspect comes first");
        world.wind(10 * SECOND).await;
        assert_eq!(log.lines(), ["begin 666", "begin 2"], "but not for ever");
    });
}

#[test]
fn a_suspect_that_takes_long_keeps_nobody_waiting_for_ever() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let process = Process::start(&world, &log, &gate, endpoint());
    process.run(async {
        process.bus.send("q", &Ping { n: 2 }).await.unwrap();
        world.wind(59 * SECOND).await;
        assert_eq!(log.lines(), ["begin 1"]);
        world.wind(SECOND).await;
        assert_eq!(log.lines(), ["begin 1", "begin 2"]);
    });
}

#[test]
fn a_suspect_that_fails_is_acquitted_and_retried_through_the_transport() {
    async fn fail(_: Ping, State(log): State<Log>, State(_): State<Gate>) -> Result<(), Failure> {
        log.add("run");
        Err(Failure::retryable("an honest failure"))
    }
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let endpoint = Endpoint::new("q").retry(Retry::list([SECOND; 2])).handle(fail);
    let process = Process::start(&world, &log, &gate, endpoint);
    process.run(async {
        idle().await;
        assert_eq!(world.depth("q").await, [0, 0, 1, 0], "no pause in place: others would wait");
        assert_eq!(world.in_queue("q").await[0].failures, 1);
        world.wind(SECOND).await;
        assert_eq!(world.depth("q").await, [0, 1, 0, 0], "no suspect any more: a pause in place");
        world.wind(SECOND).await;
        let death = world.dead("q").await[0].death.clone().unwrap();
        assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 3));
    });
}

#[test]
fn a_trial_that_a_drain_cuts_short_does_not_count() {
    let (world, gate) = (World::new(), Gate::new());
    accuse(&world, &[KILLER]);
    for _ in 0..5 {
        let process = Process::start(&world, &Log::default(), &gate, endpoint());
        process.run(async {
            idle().await;
            let bus = process.bus.clone();
            let drain = tokio::spawn(async move { bus.drain(SECOND).await.unwrap() });
            world.wind(SECOND).await;
            assert!(drain.is_finished());
            assert_eq!(world.depth("q").await, [1, 0, 0, 0]);
        });
    }
}

#[test]
fn a_drain_ends_the_wait_of_a_suspect_and_leaves_it_as_it_was() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let lane = PoisonLane::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let other = World::new();
    runtime.block_on(async {
        let start = |world: &World| {
            let bus = world.bus().poison_lane(lane.clone());
            bus.state(log.clone()).state(gate.clone()).endpoint(endpoint()).start()
        };
        let busy = start(&other).await.unwrap();
        busy.send("q", &Ping { n: KILLER }).await.unwrap();
        idle().await;
        let accused = start(&world).await.unwrap();
        idle().await;
        assert_eq!(world.depth("q").await, [0, 1, 0, 0]);
        let drained = at_once(accused.drain(60 * SECOND)).await.unwrap();
        assert_eq!(drained, tramline::Drained::Clean);
        assert_eq!(world.depth("q").await, [1, 0, 0, 0]);
        busy.send("q", &Ping { n: 2 }).await.unwrap();
        idle().await;
        assert_eq!(log.lines(), ["begin 666", "begin 2"], "nobody waits for it any more");
    });
}

#[test]
fn suspects_of_a_batch_are_batches_of_one_and_alone() {
    async fn batch(items: Vec<Item<Ping>>, State(log): State<Log>, State(gate): State<Gate>) {
        let numbers: Vec<_> = items.iter().map(|item| item.message.n).collect();
        log.add(format!("begin {numbers:?}"));
        if numbers.contains(&KILLER) {
            std::future::pending::<()>().await;
        }
        gate.pass().await;
    }
    let (world, gate) = (World::new(), Gate::new());
    gate.0.add_permits(100);
    accuse(&world, &[1, KILLER, 2]);
    let endpoint = || Endpoint::new("q").concurrency(1).batch(10, SECOND / 10).handle_batch(batch);
    for life in 1..=4 {
        let log = Log::default();
        let process = Process::start(&world, &log, &gate, endpoint());
        process.run(async {
            for n in [3, 4] {
                process.bus.send("q", &Ping { n }).await.unwrap();
            }
            world.wind(SECOND).await;
        });
        let expected: &[&str] = match life {
            1 => &["begin [3, 4]", "begin [1]", "begin [666]"],
            4 => &["begin [3, 4]"],
            _ => &["begin [3, 4]", "begin [666]"],
        };
        assert_eq!(log.lines()[..expected.len()], *expected, "life {life}");
        process.kill();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let dead = runtime.block_on(world.dead("q"));
    let reasons: Vec<_> =
        dead.iter().map(|dead| dead.death.as_ref().unwrap().reason.to_string()).collect();
    assert_eq!(reasons, ["poison"]);
}

#[test]
fn what_expires_while_its_batch_waits_for_a_suspect_drops_out_of_it() {
    async fn batch(items: Vec<Item<Ping>>, State(log): State<Log>, State(gate): State<Gate>) {
        let numbers: Vec<_> = items.iter().map(|item| item.message.n).collect();
        log.add(format!("begin {numbers:?}"));
        gate.pass().await;
    }
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1]);
    let endpoint = Endpoint::new("q").concurrency(2).batch(2, SECOND / 10).handle_batch(batch);
    let process = Process::start(&world, &log, &gate, endpoint);
    process.run(async {
        world.wind(SECOND).await;
        assert_eq!(log.lines(), ["begin [1]"], "the suspect is alone");
        process.bus.send("q", &Ping { n: 2 }).ttl(SECOND).await.unwrap();
        process.bus.send("q", &Ping { n: 3 }).await.unwrap();
        idle().await;
        world.wind(SECOND).await;
        gate.0.add_permits(2);
        idle().await;
        assert_eq!(log.lines(), ["begin [1]", "begin [3]"]);
        let dead = world.dead("q").await;
        assert_eq!(dead[0].death.as_ref().unwrap().reason.as_str(), "expired");
        assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
    });
}

#[test]
fn a_suspect_and_its_duplicate_do_not_wait_for_each_other() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    accuse(&world, &[1, 2]);
    let process = Process::start(&world, &log, &gate, endpoint().transactional());
    process.run(async {
        idle().await;
        assert_eq!(log.lines(), ["begin 1"]);
        process.bus.send("q", &Ping { n: 2 }).id(id_of(2)).await.unwrap();
        idle().await;
        gate.0.add_permits(10);
        idle().await;
        assert_eq!(log.lines(), ["begin 1", "end 1", "begin 2", "end 2"]);
        assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
    });
}

#[tokio::test]
async fn while_one_suspect_lets_others_go_on_the_next_does_not_hold_them_up_instead() {
    let (log, gate, lane) = (Log::default(), Gate::new(), PoisonLane::default());
    let [busy, first, second] = [(); 3].map(|()| World::new());
    std::thread::scope(|scope| {
        scope.spawn(|| [&first, &second].map(|world| accuse(world, &[1])));
    });
    let start = |world: &World| {
        let bus = world.bus().poison_lane(lane.clone());
        bus.state(log.clone()).state(gate.clone()).endpoint(endpoint()).start()
    };
    let bus = start(&busy).await.unwrap();
    bus.send("q", &Ping { n: KILLER }).await.unwrap();
    idle().await;
    let _first = start(&first).await.unwrap();
    first.wind(10 * SECOND).await;
    let _second = start(&second).await.unwrap();
    idle().await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["begin 666", "begin 2"]);
}

#[tokio::test]
async fn a_trial_of_which_nobody_knows_whether_it_was_recorded_does_not_count() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    std::thread::scope(|scope| {
        scope.spawn(|| accuse(&world, &[1]));
    });
    let rigged = world.rigged();
    rigged.rig.unheard_trials.store(1, SeqCst);
    let bus = world.bus_on(rigged).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(endpoint()).start().await.unwrap();
    idle().await;
    assert_eq!(world.depth("q").await, [0, 0, 1, 0], "not now, because it may not be recorded");
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["begin 1"]);
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["begin 1", "begin 2"], "no suspect any more");
}

#[tokio::test]
async fn nothing_begins_beside_a_suspect_before_its_settlement_is_answered() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    gate.0.add_permits(10);
    std::thread::scope(|scope| {
        scope.spawn(|| accuse(&world, &[1]));
    });
    let rigged = world.rigged();
    rigged.rig.hanging_acks.store(1, SeqCst);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(endpoint()).start().await.unwrap();
    idle().await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    // Died the process now, the suspect would come again, and nobody else with it.
    assert_eq!(log.lines(), ["begin 1", "end 1"]);
    rigged.rig.release.notify_one();
    idle().await;
    assert_eq!(log.lines(), ["begin 1", "end 1", "begin 2", "end 2"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_trial_whose_record_is_never_answered_keeps_nobody_waiting_for_ever() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    std::thread::scope(|scope| {
        scope.spawn(|| accuse(&world, &[1]));
    });
    let rigged = world.rigged();
    rigged.rig.hanging_trials.store(1, SeqCst);
    let bus = world.bus_on(rigged).state(log.clone()).state(gate.clone());
    let bus = bus.endpoint(endpoint()).start().await.unwrap();
    idle().await;
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    world.wind(29 * SECOND).await;
    assert_eq!(log.lines(), [""; 0], "nobody knows yet whether it begins");
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["begin 2"]);
    assert_eq!(world.depth("q").await, [0, 1, 1, 0], "it stays away for a moment");
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["begin 2", "begin 1"]);
}

#[tokio::test]
async fn a_suspect_that_is_lost_while_its_trial_is_recorded_is_not_written_back() {
    let (world, log, gate) = (World::new(), Log::default(), Gate::new());
    gate.0.add_permits(10);
    std::thread::scope(|scope| {
        scope.spawn(|| accuse(&world, &[1]));
    });
    let rigged = world.rigged();
    rigged.rig.copies.store(true, SeqCst);
    rigged.rig.failing_trials.store(1, SeqCst);
    let bus = world.bus_on(rigged.clone()).state(log.clone()).state(gate.clone());
    let _bus = bus.endpoint(endpoint()).start().await.unwrap();
    idle().await;
    assert_eq!(world.memory.expire_leases(&QueueName::new("q").unwrap()), 1);
    rigged.rig.release.notify_one();
    idle().await;
    assert_eq!(log.lines(), ["begin 1", "end 1"], "there is one of it");
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}
