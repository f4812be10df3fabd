//! Messages of an unknown type or a newer version.

use crate::kit::{Log, Order, Paid, Ping, Renamed, SECOND, World, idle};
use tramline::{Endpoint, Failure, Filter, Retry, State};

async fn keep(ping: Ping, State(log): State<Log>) {
    log.add(format!("ping {}", ping.n));
}

#[tokio::test]
async fn an_unknown_type_waits_uncharged_and_dies_as_unhandled_after_its_limit() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::none()).handle(keep);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Order::of(1)).await.unwrap();
    idle().await;
    for _ in 0..89 {
        let waiting = world.in_queue("q").await;
        assert_eq!(waiting[0].failures, 0);
        assert!(waiting[0].due.is_some());
        world.wind(10 * SECOND).await;
    }
    assert_eq!(world.depth("q").await, [0, 0, 1, 0], "14:50 is not yet 15 minutes");
    world.wind(10 * SECOND).await;
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("unhandled", 0));
    assert_eq!(death.history.notes()[0].error, "no handler for message orders.placed");
}

#[tokio::test]
async fn a_newer_version_waits_for_an_instance_that_knows_it() {
    async fn keep_new(new: Renamed, State(log): State<Log>) {
        log.add(format!("renamed {}", new.number));
    }
    let (world, log) = (World::new(), Log::default());
    let old = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").subscribe::<Ping>().handle(keep))
        .start()
        .await
        .unwrap();
    old.publish(&Renamed { number: 5 }).await.unwrap();
    idle().await;
    assert_eq!(world.depth("q").await, [0, 0, 1, 0]);
    let _drained = old.drain(SECOND).await.unwrap();
    // The newer instance filters, and what was retried is never filtered.
    let endpoint =
        Endpoint::new("q").subscribe_where::<Renamed>(Filter::sql("n = 1")).handle(keep_new);
    let _new = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), ["renamed 5"]);
}

#[tokio::test]
async fn an_older_version_is_handled() {
    async fn keep_new(_: Renamed, State(log): State<Log>) {
        log.add("read");
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").handle(keep_new);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let dead = world.dead("q").await;
    let reason = dead[0].death.as_ref().unwrap().reason.as_str();
    assert_eq!(reason, "undecodable", "its layout is asked for, and does not fit here");
}

#[tokio::test]
async fn limit_and_pause_can_be_chosen() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").unhandled_after(3 * SECOND, SECOND).handle(keep);
    let bus = world.bus().state(log).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Paid { n: 1 }).await.unwrap();
    world.wind(SECOND).await;
    world.wind(SECOND).await;
    assert_eq!(world.depth("q").await[3], 0);
    world.wind(SECOND).await;
    assert_eq!(world.depth("q").await[3], 1);
}

#[tokio::test]
async fn a_handler_may_say_that_it_does_not_know_a_message() {
    async fn newer(_: Ping) -> Result<(), Failure> {
        Err(Failure::unhandled("a ping of next year"))
    }
    let world = World::new();
    let endpoint = Endpoint::new("q").retry(Retry::immediate(3)).handle(newer);
    let bus = world.bus().endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(world.in_queue("q").await[0].failures, 0, "uncharged");
}

#[tokio::test]
async fn once_known_a_message_has_its_whole_time_again() {
    async fn fail(_: Ping) -> Result<(), Failure> {
        Err(Failure::retryable("not yet"))
    }
    async fn other(_: Paid) {}
    let world = World::new();
    // An old instance, one that knows the type and fails, and the old one again.
    let old = || Endpoint::new("q").unhandled_after(100 * SECOND, SECOND).handle(other);
    let bus = world.bus().endpoint(old()).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let _drained = bus.drain(SECOND).await.unwrap();
    let new = Endpoint::new("q").retry(Retry::fixed(200 * SECOND)).handle(fail);
    let bus = world.bus().endpoint(new).start().await.unwrap();
    world.wind(SECOND).await;
    let _drained = bus.drain(SECOND).await.unwrap();
    let _old = world.bus().endpoint(old()).start().await.unwrap();
    world.wind(200 * SECOND).await;
    assert_eq!(world.depth("q").await, [0, 0, 1, 0], "it waits, and is not dead");
}
