//! A test drives a bus without waiting for anything.

use crate::messages::{Order, Paid};
use std::time::Duration;
use tramline::testing::TestBus;
use tramline::{Attempt, Endpoint, Failure, Memory, Outbox, Retry, Tx};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn pay(order: Order, outbox: Outbox) -> Result<(), Failure> {
    outbox.publish(&Paid { n: order.n })
}

#[tokio::test]
async fn what_was_published_and_handled_can_be_asked_for_by_type() {
    let endpoint = Endpoint::new("payment").subscribe::<Order>().handle(pay);
    let test = TestBus::start(|bus, _| bus.endpoint(endpoint)).await.unwrap();
    test.publish(&Order { n: 1 }).header("shop", "north").await.unwrap();
    test.send("payment", &Order { n: 2 }).await.unwrap();
    test.run_until_idle().await;
    assert_eq!(test.published::<Order>(), [Order { n: 1 }, Order { n: 2 }]);
    assert_eq!(test.handled::<Order>(), [Order { n: 1 }, Order { n: 2 }]);
    assert_eq!(test.published::<Paid>(), [Paid { n: 1 }, Paid { n: 2 }]);
    assert_eq!(test.handled::<Paid>(), [], "nobody has subscribed to it");
    let shop = test.published_envelopes::<Order>()[0].headers.get("shop").cloned();
    assert_eq!(shop, Some("north".into()));
    assert_eq!(test.elapsed(), Duration::ZERO, "nothing had to wait");
}

#[tokio::test]
async fn what_a_transaction_publishes_is_seen_when_it_commits() {
    async fn second_time(order: Order, run: Attempt, tx: Tx<Memory>) -> Result<(), Failure> {
        tx.write(move |db| {
            db.publish(&Paid { n: order.n })?;
            if run == Attempt(1) { Err(Failure::retryable("not yet")) } else { Ok(()) }
        })
    }
    let endpoint = Endpoint::new("payment").transactional().handle(second_time);
    let start = TestBus::start(|bus, memory| bus.store(memory.clone()).endpoint(endpoint));
    let test = start.await.unwrap();
    test.send("payment", &Order { n: 1 }).await.unwrap();
    assert_eq!((test.published::<Paid>(), test.handled::<Order>()), (vec![], vec![]));
    test.run_until_idle().await;
    assert_eq!(test.published::<Paid>(), [Paid { n: 1 }]);
    assert_eq!(test.handled::<Order>(), [Order { n: 1 }]);
}

#[tokio::test]
async fn pauses_of_hours_and_scheduled_messages_are_wound_through() {
    async fn third_time(_: Order, run: Attempt) -> Result<(), Failure> {
        if run < Attempt(3) { Err(Failure::retryable("not yet")) } else { Ok(()) }
    }
    let endpoint = Endpoint::new("slow").retry(Retry::fixed(5 * HOUR).runs(3)).handle(third_time);
    let test = TestBus::start(|bus, _| bus.endpoint(endpoint)).await.unwrap();
    test.send("slow", &Order { n: 1 }).delay(24 * HOUR).await.unwrap();
    test.run_until_idle().await;
    assert_eq!(test.handled::<Order>(), [Order { n: 1 }]);
    assert_eq!(test.elapsed(), 34 * HOUR);
}

#[tokio::test]
async fn a_message_that_failed_for_good_is_a_dead_letter_and_not_handled() {
    async fn refuse(_: Order) -> Result<(), Failure> {
        Err(Failure::permanent("nothing to charge"))
    }
    let endpoint = Endpoint::new("payment").handle(refuse);
    let test = TestBus::start(|bus, _| bus.endpoint(endpoint)).await.unwrap();
    test.send("payment", &Order { n: 1 }).await.unwrap();
    test.run_until_idle().await;
    let dead = test.dead_letters("payment").await;
    assert_eq!(dead[0].death.as_ref().unwrap().reason.as_str(), "permanent");
    assert_eq!(test.handled::<Order>(), []);
    assert_eq!(test.bus().dead_letters("payment").unwrap().redrive_all().await.unwrap(), 1);
}

#[tokio::test]
async fn a_handler_that_never_ends_does_not_hold_up_the_test() {
    async fn hang(_: Order) {
        std::future::pending::<()>().await;
    }
    let endpoint = Endpoint::new("stuck").handle(hang);
    let test = TestBus::start(|bus, _| bus.endpoint(endpoint)).await.unwrap();
    test.send("stuck", &Order { n: 1 }).await.unwrap();
    test.run_until_idle().await;
    let error = test.wait_for(HOUR, |test| !test.handled::<Order>().is_empty()).await.unwrap_err();
    assert!(error.to_string().contains("queue stuck: 0 ready, 1 at work"), "{error}");
}

#[tokio::test]
async fn waiting_for_something_winds_the_clock_no_further_than_to_it() {
    let endpoint = Endpoint::new("payment").handle(pay);
    let test = TestBus::start(|bus, _| bus.endpoint(endpoint)).await.unwrap();
    for n in 1..=3 {
        let delay = HOUR * u32::try_from(n).unwrap();
        test.send("payment", &Order { n }).delay(delay).await.unwrap();
    }
    test.wait_for(3 * HOUR, |test| test.published::<Paid>().len() == 2).await.unwrap();
    assert_eq!(test.elapsed(), 2 * HOUR);
    assert!(test.wait_for(HOUR / 2, |test| test.published::<Paid>().len() == 3).await.is_err());
    assert_eq!(test.handled::<Order>().len(), 2);
}

#[tokio::test]
async fn what_is_due_in_a_year_is_run_although_a_relay_looks_every_second() {
    let store = tramline::Memory::new();
    let endpoint = Endpoint::new("payment").transactional().handle(pay);
    let start = TestBus::start(|bus, _| bus.store(store).endpoint(endpoint));
    let test = start.await.unwrap();
    test.send("payment", &Order { n: 1 }).delay(365 * 24 * HOUR).await.unwrap();
    test.run_until_idle().await;
    assert_eq!(test.published::<Paid>(), [Paid { n: 1 }]);
    assert_eq!(test.elapsed(), 365 * 24 * HOUR);
}

#[tokio::test]
async fn a_wait_in_vain_winds_the_clock_as_far_as_it_says() {
    let endpoint = Endpoint::new("payment").handle(pay);
    let test = TestBus::start(|bus, _| bus.endpoint(endpoint)).await.unwrap();
    test.send("payment", &Order { n: 1 }).delay(HOUR).await.unwrap();
    let is_paid = |test: &TestBus| !test.handled::<Order>().is_empty();
    for _ in 0..3 {
        test.wait_for(HOUR / 4, is_paid).await.unwrap_err();
    }
    assert_eq!(test.elapsed(), 3 * HOUR / 4);
    test.wait_for(HOUR / 4, is_paid).await.unwrap();
}
