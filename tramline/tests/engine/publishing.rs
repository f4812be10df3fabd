//! Publishing and sending from outside of handlers.

use crate::kit::{Answer, Log, Order, Paid, Ping, SECOND, World, at_once, idle};
use bytes::Bytes;
use std::sync::Arc;
use tramline::core::codec::{Codec, Read, erased_serde};
use tramline::core::name::TopicName;
use tramline::core::{BoxError, ErrorKind};
use tramline::{
    Bus, Draft, Endpoint, Envelope, Failure, Filter, HeaderValue, MessageId, Outbox, QueueName,
    QueueSpec, State,
};

async fn keep(order: Order, State(log): State<Log>) {
    log.add(format!("order {}", order.n));
}

async fn keep_paid(paid: Paid, State(log): State<Log>) {
    log.add(format!("paid {}", paid.n));
}

async fn keep_ping(ping: Ping, State(log): State<Log>) {
    log.add(format!("ping {}", ping.n));
}

type Seen = tokio::sync::mpsc::UnboundedSender<Arc<Envelope>>;

async fn keep_envelope(_: Order, envelope: Arc<Envelope>, State(seen): State<Seen>) {
    seen.send(envelope).unwrap();
}

#[tokio::test]
async fn a_published_event_reaches_every_subscribed_queue_once() {
    let (world, log) = (World::new(), Log::default());
    let twice = Endpoint::new("twice")
        .subscribe::<Order>()
        .subscribe_to("orders", "orders.*", Filter::All)
        .handle(keep);
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(twice)
        .endpoint(Endpoint::new("once").subscribe::<Order>().handle(keep))
        .endpoint(Endpoint::new("other").subscribe::<Paid>().handle(keep_paid))
        .start()
        .await
        .unwrap();
    let receipt = bus.publish(&Order::of(7)).await.unwrap();
    assert_eq!(receipt.routed, Some(true));
    idle().await;
    assert_eq!(log.lines(), ["order 7", "order 7"]);
    for queue in ["twice", "once", "other"] {
        assert_eq!(world.depth(queue).await, [0, 0, 0, 0], "{queue}");
    }
}

#[tokio::test]
async fn a_sent_command_reaches_exactly_its_queue() {
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("a").subscribe::<Order>().handle(keep))
        .endpoint(Endpoint::new("b").subscribe::<Order>().handle(keep))
        .start()
        .await
        .unwrap();
    bus.send("b", &Order::of(1)).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["order 1"]);
}

#[tokio::test]
async fn sending_to_a_queue_that_is_not_there_is_an_error_that_names_it() {
    let bus = World::new().bus().start().await.unwrap();
    let error = bus.send("nowhere", &Order::of(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nowhere"), "{error}");
    let error = bus.send("No Where", &Order::of(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn every_option_of_a_message_arrives() {
    let world = World::new();
    let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel();
    let bus = world
        .bus()
        .state::<Seen>(seen)
        .endpoint(Endpoint::new("q").handle(keep_envelope))
        .start()
        .await
        .unwrap();
    let id: MessageId = "order-7".parse().unwrap();
    let receipt = bus
        .send("q", &Order::of(7))
        .id(id.clone())
        .header("region", "eu")
        .header("weight", 3i64)
        .key("customer-1")
        .idempotency_key("once-7")
        .correlation_id("checkout-9")
        .reply_to("answers")
        .ttl(60 * SECOND)
        .delay(10 * SECOND)
        .priority(4)
        .await
        .unwrap();
    assert_eq!(receipt.id, id);
    world.wind(9 * SECOND).await;
    assert!(envelopes.try_recv().is_err(), "it came before it was due");
    world.wind(SECOND).await;
    let envelope = at_once(envelopes.recv()).await.unwrap();
    assert_eq!(envelope.id, Some(id));
    assert_eq!(envelope.name.as_deref(), Some("orders.placed"));
    assert_eq!(envelope.content_type.as_deref(), Some("application/json"));
    assert_eq!(envelope.headers.text("region"), Some("eu"));
    assert_eq!(envelope.headers.get("weight"), Some(&HeaderValue::Int(3)));
    assert_eq!(envelope.headers.text("total"), Some("7.50"), "promoted");
    assert_eq!(envelope.key.as_deref(), Some("customer-1"));
    assert_eq!(envelope.idempotency_key.as_deref(), Some("once-7"));
    assert_eq!(envelope.correlation_id.as_deref(), Some("checkout-9"));
    assert_eq!(envelope.reply_to.as_deref(), Some("answers"));
    assert_eq!(envelope.priority, Some(4));
    let sent_at = envelope.sent_at.unwrap();
    assert_eq!(envelope.expires_at, Some(sent_at.after(70 * SECOND)), "counted from the due time");
    assert_eq!(envelope.via, None, "a direct send came through no topic");
    assert_eq!(envelope.body, Bytes::from_static(br#"{"n":7,"total":"7.50"}"#));
}

#[tokio::test]
async fn an_event_that_nobody_subscribed_to_is_an_error_by_choice() {
    async fn forward(ping: Ping, outbox: Outbox) -> Result<(), Failure> {
        outbox.publish(&Paid { n: ping.n })
    }
    let (world, log) = (World::new(), Log::default());
    let orders = Endpoint::new("orders").subscribe::<Order>().handle(keep);
    let bus = world
        .bus()
        .require_subscribers()
        .state(log.clone())
        .endpoint(orders)
        .endpoint(Endpoint::new("q").handle(forward))
        .start()
        .await
        .unwrap();
    let refused = bus.publish(&Paid { n: 1 }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let text = refused.to_string();
    assert!(text.contains("topic orders (orders.paid)") && text.contains("subscribed"), "{text}");
    let mut answers = bus.publish_all([&Paid { n: 2 }, &Paid { n: 3 }]).await;
    assert!(answers.drain(..).all(|answer| answer.is_err()));
    // What somebody subscribed to, what is sent to a queue, and what a handler publishes.
    assert_eq!(bus.publish(&Order::of(4)).await.unwrap().routed, Some(true));
    bus.send("q", &Ping { n: 5 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["order 4"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0], "the handler has succeeded");
}

#[tokio::test]
async fn topic_and_subject_can_be_overridden() {
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("audit").subscribe_to("audit", "eu.#", Filter::All).handle(keep))
        .endpoint(Endpoint::new("usual").subscribe::<Order>().handle(keep))
        .start()
        .await
        .unwrap();
    let topic = TopicName::new("audit").unwrap();
    bus.publish(&Order::of(1)).topic(topic.clone()).subject("eu.order").await.unwrap();
    let receipt = bus.publish(&Order::of(2)).topic(topic).subject("us.order").await.unwrap();
    assert_eq!(receipt.routed, Some(false));
    idle().await;
    assert_eq!(log.lines(), ["order 1"]);
}

#[tokio::test]
async fn more_important_messages_come_first() {
    let (world, log) = (World::new(), Log::default());
    let mut spec = QueueSpec::new(QueueName::new("q").unwrap());
    spec.priority_max = Some(9);
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").queue_spec(spec).concurrency(1).handle(keep))
        .start()
        .await
        .unwrap();
    let drafts = [(1, 0), (2, 9), (3, 5)].map(|(n, priority)| (Order::of(n), priority));
    let drafts = drafts.iter().map(|(order, priority)| Draft::of(order).priority(*priority));
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
    idle().await;
    assert_eq!(log.lines(), ["order 2", "order 3", "order 1"]);
}

#[tokio::test]
async fn a_batch_is_answered_for_each_message_and_a_bad_one_fails_alone() {
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").subscribe::<Order>().handle(keep))
        .start()
        .await
        .unwrap();
    let orders = [1, 2, 3].map(Order::of);
    let drafts = orders.iter().map(|order| match order.n {
        2 => Draft::of(order).header("tramline_id", "mine"),
        _ => Draft::of(order),
    });
    let answers = bus.publish_all(drafts).await;
    let ok: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true]);
    assert!(answers[1].as_ref().unwrap_err().to_string().contains("tramline_id"));
    idle().await;
    assert_eq!(log.take(), ["order 1", "order 3"]);

    let answers = bus.send_all("nowhere", &orders).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 3);
    let none: [&Order; 0] = [];
    assert!(bus.publish_all(none).await.is_empty());
}

#[tokio::test]
async fn a_transport_that_answers_too_little_has_not_accepted_the_rest() {
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    let bus = world
        .bus_on(rigged.clone())
        .state(log)
        .endpoint(Endpoint::new("q").handle(keep))
        .start()
        .await
        .unwrap();
    rigged.rig.answers.lock().push_back(Answer::TooFew);
    let answers = bus.send_all("q", &[1, 2].map(Order::of)).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    rigged.rig.answers.lock().push_back(Answer::TooFew);
    assert!(bus.send("q", &Order::of(3)).await.is_err());
}

#[tokio::test]
async fn an_event_without_subscription_is_no_error_and_says_so() {
    let bus = World::new().bus().publishes::<Order>().start().await.unwrap();
    assert_eq!(bus.publish(&Order::of(1)).await.unwrap().routed, Some(false));
}

#[tokio::test]
async fn promoted_fields_travel_as_headers_and_filters_see_them() {
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(
            Endpoint::new("vip").subscribe_where::<Order>(Filter::sql("total > 1000")).handle(keep),
        )
        .start()
        .await
        .unwrap();
    // As texts, 999.50 would be more than 1000.
    for n in [999, 1000, 2000] {
        bus.publish(&Order::of(n)).await.unwrap();
    }
    idle().await;
    assert_eq!(log.lines(), ["order 1000", "order 2000"]);
}

#[tokio::test]
async fn the_bus_as_a_state_publishes_at_once_even_if_the_handler_fails() {
    async fn fail(order: Order, State(bus): State<Bus>) -> Result<(), Failure> {
        bus.publish(&Paid { n: order.n }).await?;
        Err(Failure::permanent("no"))
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").handle(fail))
        .endpoint(Endpoint::new("paid").subscribe::<Paid>().handle(keep_paid))
        .start()
        .await
        .unwrap();
    bus.send("q", &Order::of(5)).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["paid 5"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 1]);
}

/// JSON behind a first byte.
struct Marked;

impl Codec for Marked {
    fn content_type(&self) -> &'static str {
        "application/x-marked"
    }
    fn encode(&self, message: &dyn erased_serde::Serialize) -> Result<Vec<u8>, BoxError> {
        let mut body = vec![b'!'];
        serde_json::to_writer(&mut body, message)?;
        Ok(body)
    }
    fn decode(&self, body: &[u8], read: &mut Read<'_>) -> Result<(), BoxError> {
        let json = body.strip_prefix(b"!").ok_or("no mark")?;
        let mut json = serde_json::Deserializer::from_slice(json);
        read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))?;
        Ok(())
    }
}

#[tokio::test]
async fn bodies_are_written_and_read_by_the_codec_of_the_bus() {
    let world = World::new();
    let (seen, mut envelopes) = tokio::sync::mpsc::unbounded_channel();
    let bus = world
        .bus()
        .codec(Marked)
        .state::<Seen>(seen)
        .endpoint(Endpoint::new("q").handle(keep_envelope))
        .start()
        .await
        .unwrap();
    bus.send("q", &Order::of(7)).await.unwrap();
    let envelope = at_once(envelopes.recv()).await.unwrap();
    assert_eq!(envelope.content_type.as_deref(), Some("application/x-marked"));
    assert_eq!(envelope.body[0], b'!');
    assert_eq!(envelope.headers.text("total"), Some("7.50"), "promoted all the same");
}

#[tokio::test]
async fn a_url_chooses_the_transport_and_a_bad_one_is_refused_without_its_secrets() {
    let bus = Bus::connect("memory:").await.unwrap().start().await.unwrap();
    assert_eq!(bus.transport(), "memory");
    for (url, word) in
        [("orders.db", "scheme"), ("memory:x", "memory:"), ("kafka://u:secret@h", "`kafka:`")]
    {
        let error = Bus::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn one_endpoint_handles_several_messages_by_their_names() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("all")
        .concurrency(1)
        .subscribe::<Order>()
        .subscribe::<Paid>()
        .handle(keep)
        .handle(keep_paid)
        .handle(keep_ping);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.publish(&Order::of(1)).await.unwrap();
    bus.publish(&Paid { n: 2 }).await.unwrap();
    bus.send("all", &Ping { n: 3 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["order 1", "paid 2", "ping 3"]);
}
