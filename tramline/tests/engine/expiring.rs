//! A message that has lost its meaning is neither handled nor retried.

use crate::kit::{Log, Ping, SECOND, World, idle};
use tramline::{Attempt, Bus, Endpoint, Failure, Retry, State};

async fn fail(_: Ping, attempt: Attempt, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("run {}", attempt.0));
    Err(Failure::retryable("not yet"))
}

async fn start(world: &World, log: &Log, retry: Retry) -> Bus {
    let endpoint = Endpoint::new("q").retry(retry).handle(fail);
    world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap()
}

#[tokio::test]
async fn a_pause_in_place_that_outlasts_the_message_ends_its_run() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, Retry::fixed(SECOND).runs(10)).await;
    bus.send("q", &Ping { n: 1 }).ttl(2 * SECOND).await.unwrap();
    for _ in 0..5 {
        world.wind(SECOND).await;
    }
    assert_eq!(log.lines(), ["run 1", "run 2"]);
    let death = world.dead("q").await[0].death.clone().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("expired", 2), "each failure counts once");
    assert_eq!(death.history.notes().len(), 2);
}

#[tokio::test]
async fn a_message_that_expired_while_it_was_handled_is_not_retried() {
    async fn take_long(_: Ping, State(world): State<World>) -> Result<(), Failure> {
        world.clock.advance(60 * SECOND);
        Err(Failure::retryable("not yet"))
    }
    let world = World::new();
    let endpoint = Endpoint::new("q").retry(Retry::fixed(60 * SECOND)).handle(take_long);
    let bus = world.bus().state(world.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).ttl(60 * SECOND).await.unwrap();
    idle().await;
    assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
    let death = world.dead("q").await[0].death.clone().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("expired", 1));
}
