//! Layers: the user's, and the time limit and the catch for panics around them.

use crate::kit::Commit;
use crate::kit::{Log, Paid, Ping, SECOND, Watched, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use tramline::handler::FromContext;
use tramline::pipeline::{Context, Layer, Outcome, Step};
use tramline::{Cancel, Endpoint, Failure, Outbox, Retry, State, Tx};

struct Named(&'static str);

impl Layer for Named {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let log: Log = cx.state().unwrap();
        log.add(format!("{} in, run {} at {}", self.0, cx.attempt(), cx.endpoint()));
        let outcome = next.run(cx).await;
        log.add(format!("{} out {}", self.0, outcome.is_ok()));
        outcome
    }
}

async fn handle(ping: Ping, State(log): State<Log>) {
    log.add(format!("ping {}", ping.n));
}

#[tokio::test]
async fn the_first_layer_is_the_outermost() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").layer(Named("a")).layer(Named("b")).handle(handle);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let expected = ["a in, run 1 at q", "b in, run 1 at q", "ping 1", "b out true", "a out true"];
    assert_eq!(log.lines(), expected);
}

#[tokio::test]
async fn a_layer_goes_around_every_run() {
    async fn fail_once(_: Ping, attempt: tramline::Attempt) -> Result<(), Failure> {
        if attempt.0 == 1 { Err(Failure::retryable("once")) } else { Ok(()) }
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint =
        Endpoint::new("q").retry(Retry::immediate(2)).layer(Named("a")).handle(fail_once);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    let expected = ["a in, run 1 at q", "a out false", "a in, run 2 at q", "a out true"];
    assert_eq!(log.lines(), expected);
}

struct Refusing;

impl Layer for Refusing {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        match cx.envelope().headers.text("secret") {
            Some("open sesame") => next.run(cx).await,
            _ => Err(Failure::permanent("not allowed")),
        }
    }
}

#[tokio::test]
async fn a_layer_can_keep_a_message_from_its_handler() {
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").layer(Refusing).handle(handle);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    bus.send("q", &Ping { n: 2 }).header("secret", "open sesame").await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["ping 2"]);
    assert_eq!(world.depth("q").await[3], 1);
}

struct Tagging;

struct Tag(&'static str);

impl Layer for Tagging {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        assert!(cx.insert(Tag("from a layer")).is_none() || cx.attempt() > 1);
        next.run(cx).await
    }
}

impl FromContext for Tag {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        cx.get::<Self>().map(|tag| Self(tag.0)).ok_or_else(|| Failure::permanent("no tag"))
    }
}

#[tokio::test]
async fn a_layer_can_hand_a_value_to_an_extractor() {
    async fn tagged(_: Ping, tag: Tag, State(log): State<Log>) {
        log.add(tag.0);
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").layer(Tagging).handle(tagged);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["from a layer"]);
}

struct Panicking;

impl Layer for Panicking {
    async fn around<N: Step>(&self, _: &mut Context, _: &N) -> Outcome {
        panic!("in a layer")
    }
}

struct Explosive;

impl FromContext for Explosive {
    async fn from_context(_: &mut Context) -> Result<Self, Failure> {
        panic!("in an {}", "extractor")
    }
}

#[tokio::test]
async fn a_panic_anywhere_in_the_pipeline_is_a_failure() {
    async fn explode(_: Ping) {
        panic!("in a handler")
    }
    async fn extract(_: Ping, _: Explosive) {}
    let world = World::new();
    let end = |name| Endpoint::new(name).retry(Retry::immediate(2));
    let bus = world
        .bus()
        .endpoint(end("handler").handle(explode))
        .endpoint(end("layer").layer(Panicking).handle(|_: Ping| async {}))
        .endpoint(end("extractor").handle(extract))
        .start()
        .await
        .unwrap();
    for queue in ["handler", "layer", "extractor"] {
        bus.send(queue, &Ping { n: 1 }).await.unwrap();
        idle().await;
        let dead = world.dead(queue).await;
        let death = dead[0].death.as_ref().unwrap();
        assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 2), "{queue}");
        let error = &death.history.notes()[0].error;
        assert!(error.starts_with("panicked: in a"), "{error}");
        assert!(error.ends_with(queue), "{error}");
    }
}

/// Says when it is dropped.
struct Dropped(Log);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

#[tokio::test]
async fn a_run_over_its_time_limit_is_dropped_and_fails() {
    async fn hang(_: Ping, State(log): State<Log>, cancel: Cancel) {
        let _guard = Dropped(log.clone());
        tokio::spawn(async move {
            cancel.cancelled().await;
            log.add("cancelled");
        });
        std::future::pending::<()>().await;
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").retry(Retry::none()).time_limit(3 * SECOND).handle(hang);
    let bus = world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    world.wind(2 * SECOND).await;
    assert_eq!(log.len(), 0);
    world.wind(SECOND).await;
    assert_eq!(log.lines(), ["dropped", "cancelled"]);
    let dead = world.dead("q").await;
    let error = &dead[0].death.as_ref().unwrap().history.notes()[0].error;
    assert_eq!(error, "failed to handle a message at q within 3s");
}

#[tokio::test]
async fn each_run_has_the_whole_time_limit() {
    async fn slow(
        _: Ping,
        State(log): State<Log>,
        State(clock): State<Slow>,
    ) -> Result<(), Failure> {
        clock.sleep().await;
        log.add("through");
        Err(Failure::retryable("again"))
    }
    #[derive(Clone)]
    struct Slow(tramline::core::clock::ManualClock);
    impl Slow {
        async fn sleep(&self) {
            use tramline::core::clock::Clock;
            self.0.sleep_until(self.0.now().after(2 * SECOND)).await;
        }
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint =
        Endpoint::new("q").retry(Retry::immediate(2)).time_limit(3 * SECOND).handle(slow);
    let bus = world
        .bus()
        .state(log.clone())
        .state(Slow(world.clock.clone()))
        .endpoint(endpoint)
        .start()
        .await
        .unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    world.wind(2 * SECOND).await;
    world.wind(2 * SECOND).await;
    assert_eq!(log.lines(), ["through", "through"]);
}

async fn write_and_publish(ping: Ping, tx: Tx<Watched>, outbox: Outbox) -> Result<(), Failure> {
    outbox.publish(&Paid { n: ping.n })?;
    tx.write(move |db| {
        db.put("n", db.get::<u64>("n").unwrap_or(0) + 1);
        Ok(())
    })
}

#[tokio::test]
async fn the_time_limit_includes_the_commit_and_effects_are_once_whatever_the_store_did() {
    for commit in [Commit::Hang, Commit::DoneAndHang] {
        let (world, log) = (World::new(), Log::default());
        let store = Watched::on(world.memory.clone()).then([commit]);
        async fn keep(paid: Paid, State(log): State<Log>) {
            log.add(format!("paid {}", paid.n));
        }
        let endpoint = Endpoint::new("q")
            .transactional()
            .retry(Retry::immediate(3))
            .time_limit(3 * SECOND)
            .handle(write_and_publish);
        let bus = world
            .bus()
            .state(log.clone())
            .store(store.clone())
            .endpoint(endpoint)
            .endpoint(Endpoint::new("paid").subscribe::<Paid>().handle(keep))
            .start()
            .await
            .unwrap();
        bus.send("q", &Ping { n: 1 }).await.unwrap();
        world.wind(3 * SECOND).await;
        assert_eq!(world.memory.read(|db| db.get::<u64>("n")).await, Some(1), "{commit:?}");
        assert_eq!(log.lines(), ["paid 1"], "{commit:?}");
        assert_eq!(world.depth("q").await, [0, 0, 0, 0], "{commit:?}");
        assert_eq!(store.open.load(SeqCst), 0, "{commit:?}");
    }
}
