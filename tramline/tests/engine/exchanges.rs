//! Publishing to exchanges that the bus does not own.

use crate::kit::{Log, Order, Paid, Ping, SECOND, Watched, World, idle};
use std::time::Duration;
use tramline::core::ErrorKind;
use tramline::memory::store::Db;
use tramline::{Bus, Draft, Endpoint, Failure, Item, Outbox, Retry, State};

const EXCHANGE: &str = "legacy.events";

fn publish_in(db: &mut Db<'_>) -> Result<(), Failure> {
    db.publish_to_exchange(EXCHANGE, "by.store", &Ping { n: 4 })
}

#[tokio::test]
async fn what_goes_to_an_exchange_leaves_from_everywhere_as_events_do() {
    async fn forward(order: Order, outbox: Outbox) -> Result<(), Failure> {
        let ping = Ping { n: order.n };
        outbox.publish_to_exchange(EXCHANGE, "by.handler", Draft::of(&ping).key("k"))
    }
    async fn forward_all(items: Vec<Item<Paid>>) -> Result<(), Failure> {
        let forward = |item: &Item<Paid>| {
            item.publish_to_exchange(EXCHANGE, "by.item", &Ping { n: item.message.n })
        };
        items.iter().try_for_each(forward)
    }
    let world = World::new();
    let (rigged, store) = (world.rigged(), Watched::on(world.other_memory()));
    let bus = world
        .bus_on(rigged.clone())
        .store(store.clone())
        .endpoint(Endpoint::new("single").handle(forward))
        .endpoint(Endpoint::new("batch").handle_batch(forward_all))
        .start()
        .await
        .unwrap();
    let receipt = bus.publish_to_exchange(EXCHANGE, "by.bus", &Ping { n: 1 }).ttl(SECOND);
    assert_eq!(receipt.await.unwrap().routed, Some(true));
    bus.send("single", &Order::of(2)).await.unwrap();
    idle().await;
    bus.send("batch", &Paid { n: 3 }).await.unwrap();
    idle().await;
    bus.store(&store).write(publish_in).await.unwrap();
    idle().await;
    let line = |key: &str, n: u64| format!(r#"exchange legacy.events ({key}) {{"n":{n}}}"#);
    assert_eq!(
        rigged.rig.exchanges.lines(),
        [line("by.bus", 1), line("by.handler", 2), line("by.item", 3), line("by.store", 4)]
    );
}

#[tokio::test]
async fn a_transport_without_exchanges_refuses_them_by_name() {
    async fn forward(ping: Ping, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish_to_exchange(EXCHANGE, "by.handler", &ping)
    }
    let world = World::new();
    let retry = Retry::fixed(Duration::from_secs(1)).runs(2);
    let bus: Bus = world
        .bus()
        .store(world.memory.clone())
        .state(Log::default())
        .endpoint(Endpoint::new("q").retry(retry).handle(forward))
        .endpoint(Endpoint::new("seen").handle(|ping: Ping, State(log): State<Log>| async move {
            log.add(format!("ping {}", ping.n));
        }))
        .start()
        .await
        .unwrap();
    let refused = bus.publish_to_exchange(EXCHANGE, "by.bus", &Ping { n: 1 }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains(EXCHANGE), "{refused}");

    let writer = bus.store(&world.memory);
    let failed = writer.write(|db| {
        db.send("seen", &Ping { n: 2 })?;
        publish_in(db)
    });
    let failed = failed.await.unwrap_err().to_string();
    assert!(failed.contains(EXCHANGE), "{failed}");
    assert_eq!(world.depth("seen").await, [0, 0, 0, 0], "nothing of the transaction is left");

    // What a handler sends there fails, and is not lost silently.
    bus.send("q", &Ping { n: 3 }).await.unwrap();
    world.wind(2 * SECOND).await;
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    let why = &death.history.notes().last().unwrap().error;
    assert!(why.contains(EXCHANGE), "{why}");
}
