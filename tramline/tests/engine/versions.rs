//! Bodies of older versions are made into what the handler takes.

use crate::kit::{Log, Paid, Ping, Renamed, World, at_once, idle};
use serde::{Deserialize, Serialize};
use tramline::{Endpoint, Item, Message, State};

/// `ping` in a still newer layout.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counted {
    count: u64,
}

impl Message for Counted {
    const NAME: &'static str = "ping";
    const VERSION: u32 = 3;
}

fn renamed(old: Ping) -> Renamed {
    Renamed { number: old.n + 10 }
}

fn counted(old: Renamed) -> Counted {
    Counted { count: old.number + 100 }
}

async fn keep(ping: Counted, State(log): State<Log>) {
    log.add(format!("count {}", ping.count));
}

async fn keep_all(items: Vec<Item<Counted>>, State(log): State<Log>) {
    for item in items {
        log.add(format!("count {}", item.message.count));
    }
}

#[tokio::test]
async fn older_versions_take_all_the_steps_that_are_left() {
    let single = Endpoint::new("q").concurrency(1).handle(keep);
    let batch = Endpoint::new("q").concurrency(1).handle_batch(keep_all);
    for endpoint in [single, batch] {
        let (world, log) = (World::new(), Log::default());
        let endpoint = endpoint.upcast(renamed).upcast(counted);
        let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
        bus.send("q", &Ping { n: 1 }).await.unwrap();
        bus.send("q", &Renamed { number: 2 }).await.unwrap();
        bus.send("q", &Counted { count: 3 }).await.unwrap();
        idle().await;
        assert_eq!(log.lines(), ["count 111", "count 102", "count 3"]);
    }
}

#[tokio::test]
async fn a_body_that_is_not_of_its_version_is_undecodable() {
    #[derive(Serialize, Deserialize)]
    struct Broken {
        other: u64,
    }
    impl Message for Broken {
        const NAME: &'static str = "ping";
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").upcast(renamed).upcast(counted).handle(keep);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Broken { other: 1 }).await.unwrap();
    idle().await;
    let death = world.dead("q").await[0].death.clone().unwrap();
    assert_eq!((death.reason.as_str(), log.len()), ("undecodable", 0));
}

#[tokio::test]
async fn ways_that_lead_nowhere_are_refused_at_start() {
    #[derive(Serialize, Deserialize)]
    struct Stranger {}
    impl Message for Stranger {
        const NAME: &'static str = "ping";
        const VERSION: u32 = 2;
    }
    let endpoint = Endpoint::new("q")
        .upcast(|old: Renamed| Paid { n: old.number })
        .upcast(|old: Counted| Ping { n: old.count })
        .upcast(|old: Ping| Renamed { number: old.n })
        .upcast(|_: Ping| Stranger {})
        .upcast(|_: Stranger| Counted { count: 0 })
        .handle(keep);
    let lost = Endpoint::new("lost").upcast(renamed).handle(|_: Paid| async {});
    let short = Endpoint::new("short").upcast(renamed).handle(keep);
    let bus = World::new().bus().state(Log::default()).endpoint(endpoint).endpoint(lost);
    let error = at_once(bus.endpoint(short).start()).await.unwrap_err();
    for expected in [
        "q: upcast of message ping from version 2: both must have one name, and the later one is \
         called orders.paid",
        "q: upcast of message ping from version 3: it leads to version 1, which is no later one",
        "q: upcast of message ping from version 1: there is another upcast from that version",
        "lost: upcast of message ping from version 1: no handler takes such messages",
        "short: upcast of message ping from version 1: it ends at version 2, and the handler takes 3",
    ] {
        assert!(error.to_string().contains(expected), "{expected:?} is not in\n{error}");
    }
}
