use super::*;
use crate::BoxFuture;
use crate::headers::HeaderValue;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: u64,
    total: String,
    note: Option<String>,
}
impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
    const PROMOTE: &'static [&'static str] = &["order_id", "total", "note"];
}

struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000)
    }
    fn sleep_until(&self, _at: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}
impl Entropy for Fixed {
    fn bits(&self) -> u128 {
        42
    }
}

fn scope(parent: Option<Parent>) -> Scope {
    let (clock, entropy) = (Arc::new(Fixed), Arc::new(Fixed));
    let composer = Composer { encoding: Encoding::Json, clock, entropy };
    Scope {
        composer: Arc::new(composer),
        parent,
        publishing: Publishing::Queues,
        listener: Listener::default(),
    }
}

fn parent(envelope: Envelope) -> Parent {
    let id = MessageId::new(Timestamp::from_millis(9), 9);
    Parent { id, envelope: Arc::new(envelope), endpoint: "payment".into() }
}

fn order() -> OrderPlaced {
    OrderPlaced { order_id: 7, total: "11.77".to_owned(), note: None }
}

#[test]
fn an_event_goes_to_its_topic_under_its_name() {
    let outgoing = scope(None).compose(&order(), Target::Subscribers).unwrap();
    let subject = Text::from("orders.placed");
    let name = TopicName::new("orders").unwrap();
    assert_eq!(outgoing.to, Destination::Topic { name: name.clone(), subject: subject.clone() });
    assert_eq!(outgoing.envelope.via, Some(Via { topic: name, subject }));
}

#[test]
fn a_command_came_through_no_topic() {
    let queue = QueueName::new("payment").unwrap();
    let outgoing = scope(None).compose(&order(), Target::Queue(queue)).unwrap();
    assert_eq!(outgoing.envelope.via, None);
}

#[test]
fn promoted_fields_become_typed_headers_and_nulls_do_not() {
    let outgoing = scope(None).compose(&order(), Target::Subscribers).unwrap();
    let headers = &outgoing.envelope.headers;
    assert_eq!(headers.get("order_id"), Some(&HeaderValue::Int(7)));
    assert_eq!(headers.get("total"), Some(&HeaderValue::Text("11.77".to_owned())));
    assert_eq!(headers.get("note"), None);
}

#[test]
fn what_a_handler_publishes_carries_cause_conversation_and_correlation() {
    let handled = Envelope { correlation_id: Some("c-1".to_owned()), ..Envelope::default() };
    let scope = scope(Some(parent(handled)));
    let outgoing = scope.compose(&order(), Target::Subscribers).unwrap();
    let parent_id = scope.parent.as_ref().unwrap().id.clone();
    assert_eq!(outgoing.envelope.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(outgoing.envelope.causation_id, Some(parent_id.clone()));
    assert_eq!(outgoing.envelope.conversation_id, Some(parent_id));
}

#[test]
fn a_conversation_keeps_the_id_of_its_first_message() {
    let first = MessageId::new(Timestamp::from_millis(1), 1);
    let handled = Envelope { conversation_id: Some(first.clone()), ..Envelope::default() };
    let outgoing = scope(Some(parent(handled))).compose(&order(), Target::Subscribers).unwrap();
    assert_eq!(outgoing.envelope.conversation_id, Some(first));
}

#[test]
fn ids_of_a_handlers_messages_are_open_until_they_are_numbered() {
    let scope = scope(Some(parent(Envelope::default())));
    let mut ordinal = 0;
    let ids = [0, 1].map(|_| {
        let mut outgoing = scope.compose(&order(), Target::Subscribers).unwrap();
        assert_eq!(outgoing.envelope.id, None);
        scope.number(&mut outgoing, &mut ordinal);
        outgoing.envelope.id.clone().unwrap()
    });
    let parent_id = &scope.parent.as_ref().unwrap().id;
    assert_eq!(ids, [0, 1].map(|n| MessageId::derive(parent_id, "payment", n)));
}

#[test]
fn a_delayed_message_lives_from_when_it_is_due() {
    let (delay, ttl) = (Duration::from_secs(10), Duration::from_secs(5));
    let message = order();
    let draft = Draft::of(&message).delay(delay).ttl(ttl);
    let outgoing = scope(None).compose(draft, Target::Subscribers).unwrap();
    assert_eq!(outgoing.due, Some(Timestamp::from_millis(11_000)));
    assert_eq!(outgoing.envelope.expires_at, Some(Timestamp::from_millis(16_000)));
}

#[test]
fn headers_of_the_bus_cannot_be_set_by_a_sender() {
    let message = order();
    let draft = Draft::of(&message).header("tramline_failures", 3);
    let failure = scope(None).compose(draft, Target::Subscribers).unwrap_err();
    assert!(failure.to_string().contains("\"tramline_failures\""), "{failure}");
}
