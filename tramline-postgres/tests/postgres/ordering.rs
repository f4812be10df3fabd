//! Queues that keep an order.

use crate::kit::{begin, id, name, note, open, within};
use std::sync::Arc;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::compose::Publishing;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::store::{Committed, Condition, Store};
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Source, Transport,
};
use tramline_services::testing::Database;

fn of_a_key(text: &'static str) -> Outgoing {
    let to = Destination::Queue(QueueRef::Main(name("ordered")));
    let (id, key) = (Some(id(text)), Some("key".into()));
    let envelope = Envelope { id, key, body: text.into(), ..Envelope::default() };
    Outgoing { to, envelope: Arc::new(envelope), due: None, copy: None }
}

/// Without the looks of every few seconds that make up for what was not told.
#[tokio::test]
async fn who_sleeps_is_told_that_a_key_goes_on_when_its_ack_was_committed_by_a_store() {
    let Some(database) = Database::fresh() else { return };
    let postgres = open(&database).await;
    database.sql("ALTER FUNCTION tramline.tend RENAME TO tend_no_more");
    let spec = QueueSpec { ordering: Ordering::PerKey, ..QueueSpec::new(name("ordered")) };
    let queues = vec![spec];
    postgres.declare(&Topology { queues, ..Topology::default() }).await.unwrap();
    let batch = [of_a_key("first"), of_a_key("second")];
    let deadline = Deadline::after(SystemClock.now(), tramline_services::testing::PATIENCE);
    for sent in postgres.sender().await.unwrap().send(&batch, deadline).await {
        sent.into_result().unwrap();
    }
    let source = Source::of(QueueRef::Main(name("ordered")), 10);
    let mut receiver = postgres.receiver(&source).await.unwrap();
    let first = within(receiver.next()).await.unwrap().unwrap();
    let second = tokio::spawn(async move { within(receiver.next()).await });
    within(async {
        let asleep = "SELECT count(*) FROM tramline.asleep WHERE queue > 0";
        while crate::kit::column(&database, asleep) != ["1"] {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let mut tx = begin(&postgres, Publishing::Outbox).await;
    tx.publish(&note("noted")).unwrap();
    let ack = Condition::Ack(first.ticket().unwrap());
    assert_eq!(postgres.commit(tx, vec![ack], Vec::new()).await.unwrap(), Committed::Done);
    first.settled_by_store();
    let second = second.await.unwrap().unwrap().unwrap();
    assert_eq!(second.envelope().body, "second");
    second.settle(tramline_core::settlement::Settlement::Ack).await.unwrap();
}
