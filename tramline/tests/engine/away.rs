//! A store that cannot be reached charges no message.

use crate::kit::{Commit, Log, Ping, SECOND, Watched, World, idle};
use crate::transactions::{payment, start};
use std::fmt;
use tramline::{Endpoint, Error, ErrorKind, Failure, Retry, State};

#[tokio::test]
async fn a_store_that_is_away_is_no_failure_of_the_message_however_long_it_is() {
    const TIMES: usize = 20;
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone()).then([Commit::Away; TIMES]);
    let bus = start(&world, &store, &log, payment().retry(Retry::none())).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    for nth in 1..=TIMES {
        idle().await;
        let waiting = &world.in_queue("payment").await[0];
        assert_eq!((waiting.failures, waiting.due.is_some()), (0, true), "after {nth}");
        world.wind(SECOND).await;
    }
    assert_eq!(log.lines().iter().filter(|line| *line == "paid 1").count(), 1);
    assert_eq!(world.depth("payment").await, [0, 0, 0, 0]);
}

/// An error of a handler's own, which answers what it comes of.
#[derive(Debug)]
struct Uncharged(Error);

impl fmt::Display for Uncharged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the card was not charged")
    }
}

impl std::error::Error for Uncharged {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "reach the store")
}

#[tokio::test]
async fn a_handler_that_finds_its_store_away_does_not_charge_its_message() {
    async fn charge(ping: Ping, State(log): State<Log>) -> Result<(), Failure> {
        log.add(format!("charge {}", ping.n));
        match log.len() {
            1 => Err(Failure::retryable(Uncharged(away()))),
            2 => Err(Failure::retryable(away())),
            3 => Err(Failure::permanent(away())),
            _ => Ok(()),
        }
    }
    let (world, log) = (World::new(), Log::default());
    let store = Watched::on(world.memory.clone());
    let endpoint =
        Endpoint::new("payment").transactional().retry(Retry::immediate(2)).handle(charge);
    let bus = start(&world, &store, &log, endpoint).await;
    bus.send("payment", &Ping { n: 1 }).await.unwrap();
    for runs in 1..=2 {
        idle().await;
        assert_eq!(log.len(), runs, "not run again at once");
        assert_eq!(world.in_queue("payment").await[0].failures, 0);
        world.wind(SECOND).await;
    }
    idle().await;
    assert_eq!(world.dead("payment").await.len(), 1, "what the handler gives up stays given up");
}
