//! What handlers may take and answer.

use crate::kit::{Log, Paid, Ping, World, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tramline::handler::FromContext;
use tramline::pipeline::Context;
use tramline::{
    Attempt, Bus, Cancel, Endpoint, Envelope, Failure, Headers, Memory, MessageId, Outbox, Retry,
    Scoped, State, Tx,
};

/// Everything there is to ask for, with the message in front.
#[expect(clippy::too_many_arguments, reason = "that is what is tested")]
async fn ask_for_everything(
    ping: Ping,
    State(log): State<Log>,
    tx: Tx<Memory>,
    outbox: Outbox,
    id: MessageId,
    attempt: Attempt,
    headers: Headers,
    cancel: Cancel,
    envelope: Arc<Envelope>,
) -> Result<(), Failure> {
    assert!(!cancel.is_cancelled());
    assert_eq!(envelope.id.as_ref(), Some(&id));
    assert_eq!(headers, envelope.headers);
    let word = headers.text("word").unwrap_or_default().to_owned();
    log.add(format!("ping {} run {} {word}", ping.n, attempt.0));
    outbox.publish(&Paid { n: ping.n })?;
    tx.write(move |db| {
        db.put("word", word.clone());
        Ok(())
    })
}

#[tokio::test]
async fn a_handler_gets_all_that_it_asks_for() {
    async fn keep_paid(paid: Paid, State(log): State<Log>) {
        log.add(format!("paid {}", paid.n));
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .store(world.memory.clone())
        .endpoint(Endpoint::new("q").transactional().handle(ask_for_everything))
        .endpoint(Endpoint::new("paid").subscribe::<Paid>().handle(keep_paid))
        .start()
        .await
        .unwrap();
    bus.send("q", &Ping { n: 1 }).header("word", "hello").await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["ping 1 run 1 hello", "paid 1"]);
    assert_eq!(world.memory.read(|db| db.get::<String>("word")).await.as_deref(), Some("hello"));
}

/// An extractor of the user's.
struct Tenant(String);

impl FromContext for Tenant {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        let tenant = cx.envelope().headers.text("tenant");
        Ok(Self(tenant.ok_or_else(|| Failure::permanent("no header `tenant`"))?.to_owned()))
    }
}

#[tokio::test]
async fn an_extractor_of_the_users_works_and_its_failure_is_the_handlers() {
    async fn handle(ping: Ping, tenant: Tenant, State(log): State<Log>) {
        log.add(format!("{} of {}", ping.n, tenant.0));
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").handle(handle))
        .start()
        .await
        .unwrap();
    bus.send("q", &Ping { n: 1 }).header("tenant", "acme").await.unwrap();
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    assert_eq!(log.lines(), ["1 of acme"]);
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!(death.reason.as_str(), "permanent");
    assert_eq!(death.history.notes()[0].error, "no header `tenant`");
}

#[tokio::test]
async fn a_handler_may_answer_nothing_or_any_result() {
    #[derive(Debug)]
    struct Own;
    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an error of my own")
        }
    }
    impl std::error::Error for Own {}
    async fn nothing(_: Ping) {}
    async fn failure(_: Ping) -> Result<(), Failure> {
        Err(Failure::permanent("a failure"))
    }
    async fn own(_: Ping) -> Result<(), Own> {
        Err(Own)
    }
    async fn io(_: Ping) -> std::io::Result<()> {
        Err(std::io::Error::other("an I/O error"))
    }
    let world = World::new();
    let end = |name| Endpoint::new(name).retry(Retry::none());
    let bus = world
        .bus()
        .endpoint(end("nothing").handle(nothing))
        .endpoint(end("failure").handle(failure))
        .endpoint(end("own").handle(own))
        .endpoint(end("io").handle(io))
        .endpoint(end("closure").handle(|_: Ping| async { Err::<(), _>(std::fmt::Error) }))
        .start()
        .await
        .unwrap();
    for queue in ["nothing", "failure", "own", "io", "closure"] {
        bus.send(queue, &Ping { n: 1 }).await.unwrap();
    }
    idle().await;
    assert_eq!(world.depth("nothing").await, [0, 0, 0, 0]);
    for (queue, error) in [
        ("failure", "a failure"),
        ("own", "an error of my own"),
        ("io", "an I/O error"),
        ("closure", &std::fmt::Error.to_string()),
    ] {
        let dead = world.dead(queue).await;
        assert_eq!(dead[0].death.as_ref().unwrap().history.notes()[0].error, error);
    }
}

#[tokio::test]
async fn a_message_of_a_foreign_sender_needs_neither_id_nor_name() {
    use tramline::core::clock::{Clock, Deadline};
    use tramline::core::name::{QueueName, QueueRef};
    use tramline::core::transport::{Destination, Outgoing, Sender, Transport};
    async fn handle(ping: Ping, id: MessageId, State(log): State<Log>) {
        log.add(format!("ping {} {}", ping.n, id.as_uuid().is_some()));
    }
    let (world, log) = (World::new(), Log::default());
    let _bus: Bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").handle(handle))
        .start()
        .await
        .unwrap();
    let body = bytes::Bytes::from_static(br#"{"n":9}"#);
    let outgoing = Outgoing {
        to: Destination::Queue(QueueRef::Main(QueueName::new("q").unwrap())),
        envelope: Arc::new(Envelope { body, ..Envelope::default() }),
        due: None,
        copy: None,
    };
    let sender = world.memory.sender().await.unwrap();
    assert!(sender.send(&[outgoing], Deadline(world.clock.now())).await[0].is_accepted());
    idle().await;
    assert_eq!(log.lines(), ["ping 9 true"]);
}

#[tokio::test]
async fn what_a_handler_publishes_after_it_has_ended_is_refused_and_not_lost_in_silence() {
    async fn late(_: Ping, outbox: Outbox, State(log): State<Log>) {
        tokio::spawn(async move {
            idle().await;
            let refused = outbox.publish(&Paid { n: 1 }).is_err();
            log.add(format!("refused {refused}"));
        });
    }
    let (world, log) = (World::new(), Log::default());
    let bus = world
        .bus()
        .state(log.clone())
        .endpoint(Endpoint::new("q").handle(late))
        .start()
        .await
        .unwrap();
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    idle().await;
    assert_eq!(log.lines(), ["refused true"]);
}

/// Is in the log when it is dropped.
struct Session {
    nth: u32,
    log: Log,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.log.add(format!("session {} is over", self.nth));
    }
}

#[tokio::test]
async fn each_run_has_a_scope_of_its_own_that_is_gone_after_it() {
    let (world, log) = (World::new(), Log::default());
    let (made, told) = (Arc::new(AtomicU32::new(0)), log.clone());
    let make = move || {
        let (nth, log) = (made.fetch_add(1, SeqCst) + 1, told.clone());
        async move {
            match nth {
                2 => Err(Failure::retryable("no session")),
                nth => Ok(Session { nth, log }),
            }
        }
    };
    async fn handle(
        ping: Ping,
        session: Scoped<Session>,
        State(log): State<Log>,
    ) -> Result<(), Failure> {
        log.add(format!("ping {} in session {}", ping.n, session.nth));
        if session.nth == 1 { Err(Failure::retryable("again")) } else { Ok(()) }
    }
    let endpoint = Endpoint::new("e").retry(Retry::immediate(5)).handle(handle);
    let bus = world.bus().state(log.clone()).scoped(make).endpoint(endpoint).start().await.unwrap();
    for n in 1..=2 {
        bus.send("e", &Ping { n }).await.unwrap();
        idle().await;
    }
    assert_eq!(
        log.lines(),
        [
            "ping 1 in session 1",
            "session 1 is over",
            "ping 1 in session 3",
            "session 3 is over",
            "ping 2 in session 4",
            "session 4 is over"
        ],
        "the second could not be made, and that is a failure"
    );
}
