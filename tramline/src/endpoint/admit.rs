//! Whether a delivery is for us: decided without side effects.

use crate::handler::{Routed, Router};
use std::collections::HashMap;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Facts;
use tramline_core::name::TopicName;
use tramline_core::topology::CompiledRules;

/// What becomes of a delivery before any handler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// A handler gets it.
    Handle,
    /// It came through a topic and no rule of ours lets it through.
    Filtered,
    /// It has lost its meaning.
    Expired,
    /// Nobody here knows its type.
    Unknown(String),
}

/// Decides about a message; `is_retried`: something of an earlier delivery is recorded.
///
/// `rules` are those that the broker cannot apply by itself; `None` where it applies all. There it
/// is not second-guessed: it goes by the rules that were declared last, perhaps by a newer instance
/// of this endpoint, and what such an instance asked for must not be acked by an older one. Rules
/// are asked only about what came straight through a topic: what was sent to the queue, retried or
/// redriven is never filtered.
pub(crate) fn admit(
    envelope: &Envelope,
    is_retried: bool,
    rules: Option<&HashMap<TopicName, CompiledRules>>,
    router: &Router,
    now: impl FnOnce() -> Timestamp,
) -> Admission {
    if !is_retried
        && let Some(rules) = rules
        && let Some(via) = &envelope.via
    {
        let facts = Facts::new(&via.subject, &envelope.headers, &envelope.body);
        let wanted = rules.get(&via.topic);
        if !wanted.is_some_and(|rules| rules.matches(&via.subject, &facts)) {
            return Admission::Filtered;
        }
    }
    if envelope.expires_at.is_some_and(|expires_at| expires_at <= now()) {
        return Admission::Expired;
    }
    match router.route(envelope) {
        Routed::To(_) => Admission::Handle,
        Routed::Unknown(why) => Admission::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::{Route, Target};
    use crate::pipeline::{Context, Outcome, Step};
    use std::sync::Arc;
    use tramline_core::envelope::Via;
    use tramline_core::filter::Filter;
    use tramline_core::topology::Rule;

    struct Nothing;
    impl Step for Nothing {
        async fn run(&self, _cx: &mut Context) -> Outcome {
            Ok(())
        }
    }

    fn decide(change: impl FnOnce(&mut Envelope), is_retried: bool) -> Admission {
        let topic = TopicName::new("orders").unwrap();
        let rule = Rule { subject: "orders.placed".into(), filter: Filter::sql("total > 10") };
        let rules = HashMap::from([(topic.clone(), CompiledRules::compile(&[rule]).unwrap())]);
        let mut router = Router::default();
        let takes =
            Target { name: "orders.placed", version: 1, type_id: std::any::TypeId::of::<()>() };
        router.add("orders.placed", Route { step: Arc::new(Nothing), takes, responds: false });
        let mut envelope = Envelope {
            name: Some("orders.placed".into()),
            via: Some(Via { topic, subject: "orders.placed".into() }),
            body: bytes::Bytes::from_static(br#"{"total":"11.00"}"#),
            ..Envelope::default()
        };
        change(&mut envelope);
        admit(&envelope, is_retried, Some(&rules), &router, || Timestamp::from_millis(100))
    }

    #[test]
    fn what_a_rule_lets_through_is_handled() {
        assert_eq!(decide(|_| (), false), Admission::Handle);
    }

    #[test]
    fn what_no_rule_lets_through_is_filtered() {
        let cheap = |envelope: &mut Envelope| {
            envelope.body = bytes::Bytes::from_static(br#"{"total":"9"}"#);
        };
        assert_eq!(decide(cheap, false), Admission::Filtered);
        assert_eq!(decide(cheap, true), Admission::Handle, "a retry is never filtered");
        let sent = |envelope: &mut Envelope| {
            cheap(envelope);
            envelope.via = None;
        };
        assert_eq!(decide(sent, false), Admission::Handle, "a direct send is never filtered");
    }

    #[test]
    fn a_topic_that_we_left_is_filtered() {
        let elsewhere = |envelope: &mut Envelope| {
            let topic = TopicName::new("stock").unwrap();
            envelope.via = Some(Via { topic, subject: "orders.placed".into() });
        };
        assert_eq!(decide(elsewhere, false), Admission::Filtered);
    }

    #[test]
    fn what_is_for_us_and_late_has_expired_whatever_its_type() {
        let late = |envelope: &mut Envelope| {
            envelope.expires_at = Some(Timestamp::from_millis(100));
            envelope.name = Some("orders.lost".into());
        };
        assert_eq!(decide(late, false), Admission::Expired);
    }

    #[test]
    fn what_is_not_for_us_is_no_dead_letter_of_ours_even_if_it_is_late() {
        let late_and_cheap = |envelope: &mut Envelope| {
            envelope.expires_at = Some(Timestamp::from_millis(100));
            envelope.body = bytes::Bytes::from_static(br#"{"total":"9"}"#);
        };
        assert_eq!(decide(late_and_cheap, false), Admission::Filtered);
    }

    #[test]
    fn an_unknown_type_is_named() {
        let unknown = |envelope: &mut Envelope| envelope.name = Some("orders.lost".into());
        let Admission::Unknown(why) = decide(unknown, true) else { panic!("it was known") };
        assert!(why.contains("orders.lost"), "{why}");
    }
}
