//! Exchanges by their names, and events that nobody has subscribed to.

use crate::counters::Counters;
use crate::orders::{Order, QUEUE, bus, next, work};
use tokio::sync::mpsc::channel;
use tramline::rabbitmq::{Binding, Exchange, RabbitMq};
use tramline::{Bus, ErrorKind};
use tramline_services::testing::{PATIENCE, Vhost};

#[tokio::test]
async fn an_event_without_subscribers_is_counted_and_an_error_by_choice() {
    let Some(vhost) = Vhost::fresh() else { return };
    let counters = Counters::default();
    let _local = metrics::set_default_local_recorder(&counters);
    let (lenient, _heard) = bus(&vhost).await;
    let lenient = lenient.publishes::<Order>().start().await.unwrap();
    let (strict, _heard) = bus(&vhost).await;
    let strict = strict.publishes::<Order>().require_subscribers().start().await.unwrap();
    let unrouted = || counters.get("tramline_unrouted_total");

    let receipt = lenient.publish(&Order { order: 1 }).await.unwrap();
    assert_eq!((receipt.routed, unrouted()), (Some(false), 1));
    let error = strict.publish(&Order { order: 2 }).await.unwrap_err();
    assert_eq!((error.kind(), unrouted()), (ErrorKind::NotFound, 2));
    let text = error.to_string();
    assert!(text.contains("orders.placed") && text.contains("no queue has subscribed"), "{text}");

    // Subscribed, the same event is none of them.
    let (working, mut heard) = bus(&vhost).await;
    let _working = working.endpoint(work().subscribe::<Order>()).start().await.unwrap();
    for bus in [&lenient, &strict] {
        let receipt = bus.publish(&Order { order: 3 }).await.unwrap();
        assert_eq!(receipt.routed, Some(true));
        assert_eq!(next(&mut heard).await, 3);
    }
    assert_eq!(unrouted(), 2);
    for bus in [lenient, strict] {
        let _drained = bus.drain(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn exchanges_of_every_kind_lead_to_an_endpoint_and_from_one_to_another() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (say, mut heard) = channel(10);
    let broker = RabbitMq::connect(vhost.url.as_str())
        .await
        .unwrap()
        .exchange(Exchange::direct("commands"))
        .exchange(Exchange::fanout("all"))
        .exchange(Exchange::topic("events"))
        .exchange(Exchange::headers("invoices"))
        .bind(Binding::queue(QUEUE).from("commands").key("pay"))
        .bind(Binding::exchange("all").from("events").key("order.#"))
        .bind(Binding::queue(QUEUE).from("all"))
        .bind(
            Binding::queue(QUEUE)
                .from("invoices")
                .argument("x-match", "all")
                .argument("tier", "gold"),
        );
    let bus = Bus::builder(broker).require_subscribers().state(say).endpoint(work());
    let bus = bus.start().await.unwrap();
    for (order, exchange, key) in
        [(1, "commands", "pay"), (2, "all", "any"), (3, "events", "order.eu.paid")]
    {
        bus.publish_to_exchange(exchange, key, &Order { order }).await.unwrap();
        assert_eq!(next(&mut heard).await, order, "through {exchange}");
    }
    bus.publish_to_exchange("invoices", "", &Order { order: 4 })
        .header("tier", "gold")
        .await
        .unwrap();
    assert_eq!(next(&mut heard).await, 4);
    // What leads nowhere is refused, and so is an exchange that is not there.
    for (exchange, key, why) in [
        ("commands", "refund", "no queue has subscribed"),
        ("events", "stock.low", "no queue has subscribed"),
        ("invoices", "", "no queue has subscribed"),
        ("nowhere", "", "nowhere"),
    ] {
        let error = bus.publish_to_exchange(exchange, key, &Order { order: 5 }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}
