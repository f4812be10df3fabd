//! Where a message is published, so that it reaches its destination.

use crate::delay::{Hop, PAUSE_MAX, Plan, Target, hops};
use crate::names::{DELAY, Names, short};
use lapin::types::ShortString;
use tramline_core::clock::Timestamp;
use tramline_core::transport::{CopyOf, Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Result};

/// An exchange and a routing key, and through which stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    /// None, unless the message is delayed.
    pub(crate) hops: Vec<Hop>,
    /// What must be there before.
    pub(crate) needs: Option<Need>,
}

/// Where a message is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
}

/// What must be there before a message is published: to an exchange that is not there, the broker
/// answers by closing the channel, with all that is in flight on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// A topic exchange, which is declared.
    Topic(ShortString),
    /// An exchange of somebody else, which is only looked for.
    Exchange(ShortString),
    /// A queue that delayed messages must find.
    Queue(ShortString),
}

impl Route {
    /// The route of `outgoing` when it is sent at `now`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`] if AMQP cannot say a name, [`ErrorKind::Unsupported`] if the
    /// message is due too late.
    pub(crate) fn of(outgoing: &Outgoing, names: &Names, now: Timestamp) -> Result<Self> {
        let Published { exchange, routing_key } = Published::undelayed(outgoing, names)?;
        let need = match &outgoing.to {
            Destination::Topic { .. } => Some(Need::Topic(exchange.clone())),
            _ if !exchange.as_str().is_empty() => Some(Need::Exchange(exchange.clone())),
            _ => None,
        };
        let Some(due) = outgoing.due.filter(|due| *due > now) else {
            return Ok(Self { exchange, routing_key, hops: Vec::new(), needs: need });
        };
        let pause = due.since(now);
        let plan = match outgoing.copy {
            Some(CopyOf::Retry { .. }) => Plan::retry(pause),
            _ => Plan::scheduled(pause),
        };
        let plan = plan.ok_or_else(|| too_late(outgoing))?;
        let (needs, target) = match need {
            None => (Need::Queue(routing_key.clone()), Target::Queue),
            Some(need) => (need, Target::Exchange(exchange.to_string())),
        };
        let hops = hops(&plan, &target);
        Ok(Self { exchange: DELAY.into(), routing_key, hops, needs: Some(needs) })
    }

    /// Where the message is published.
    pub(crate) fn published(&self) -> Published {
        Published { exchange: self.exchange.clone(), routing_key: self.routing_key.clone() }
    }

    /// Whether the message waits in stages.
    pub(crate) fn is_delayed(&self) -> bool {
        !self.hops.is_empty()
    }
}

impl Published {
    /// Where `outgoing` was published when it could be; `is_delayed`, if it was delayed then.
    pub(crate) fn of(outgoing: &Outgoing, names: &Names, is_delayed: bool) -> Option<Self> {
        let undelayed = Self::undelayed(outgoing, names).ok()?;
        let exchange = if is_delayed { DELAY.into() } else { undelayed.exchange };
        Some(Self { exchange, ..undelayed })
    }

    fn undelayed(outgoing: &Outgoing, names: &Names) -> Result<Self> {
        let direct = |queue: ShortString| (ShortString::default(), queue);
        let (exchange, routing_key) = match &outgoing.to {
            Destination::Queue(queue) => direct(names.of(queue)?),
            Destination::Address(address) => direct(short("queue", address)?),
            Destination::Topic { name, subject } => {
                (short("topic", name.as_str())?, short("subject", subject)?)
            }
            Destination::Foreign { exchange, routing_key } => {
                (short("exchange", exchange)?, short("routing key", routing_key)?)
            }
        };
        Ok(Self { exchange, routing_key })
    }
}

fn too_late(outgoing: &Outgoing) -> Error {
    let doing =
        format!("delay a message to {}: RabbitMQ delays by up to {PAUSE_MAX:?}", outgoing.to);
    Error::new(ErrorKind::Unsupported, doing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tramline_core::dead::History;
    use tramline_core::envelope::Envelope;
    use tramline_core::name::{QueueName, QueueRef, TopicName};
    use tramline_core::settlement::Marks;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn to(to: Destination) -> Outgoing {
        Outgoing { to, envelope: Envelope::default().into(), due: None, copy: None }
    }

    fn queue() -> Outgoing {
        to(Destination::Queue(QueueRef::Main(QueueName::foreign("work"))))
    }

    fn topic() -> Outgoing {
        let (name, subject) = (TopicName::foreign("orders"), "orders.placed".into());
        to(Destination::Topic { name, subject })
    }

    fn foreign(exchange: &str) -> Outgoing {
        let (exchange, routing_key) = (exchange.to_owned(), "key".to_owned());
        to(Destination::Foreign { exchange, routing_key })
    }

    fn after(pause: Duration, outgoing: Outgoing) -> Outgoing {
        Outgoing { due: Some(NOW.after(pause)), ..outgoing }
    }

    fn route(outgoing: &Outgoing) -> Result<Route> {
        Route::of(outgoing, &Names::default(), NOW)
    }

    #[test]
    fn each_destination_is_an_exchange_and_a_key() {
        let dead = to(Destination::Queue(QueueRef::Dead(QueueName::foreign("work"))));
        let address = to(Destination::Address("amq.gen-1".to_owned()));
        let direct = |key: &str| (String::new(), key.to_owned(), None);
        let through = |exchange: &str, key: &str, need: fn(ShortString) -> Need| {
            (exchange.to_owned(), key.to_owned(), Some(need(exchange.into())))
        };
        let cases = [
            (queue(), direct("work")),
            (dead, direct("work-dlq")),
            (address, direct("amq.gen-1")),
            (foreign(""), direct("key")),
            (topic(), through("orders", "orders.placed", Need::Topic)),
            (foreign("legacy"), through("legacy", "key", Need::Exchange)),
        ];
        for (outgoing, expected) in cases {
            let Route { exchange, routing_key, hops, needs } = route(&outgoing).unwrap();
            assert_eq!((exchange.to_string(), routing_key.to_string(), needs), expected);
            assert_eq!(hops, []);
        }
    }

    #[test]
    fn what_is_delayed_begins_in_the_stages_with_the_key_of_its_end() {
        let second = Duration::from_secs(1);
        let cases = [
            (queue(), Need::Queue("work".into()), Target::Queue, "work"),
            (
                topic(),
                Need::Topic("orders".into()),
                Target::Exchange("orders".into()),
                "orders.placed",
            ),
            (foreign("x"), Need::Exchange("x".into()), Target::Exchange("x".into()), "key"),
        ];
        for (outgoing, need, target, key) in cases {
            let route = route(&after(second, outgoing)).unwrap();
            let plan = hops(&Plan::scheduled(second).unwrap(), &target);
            let exchange = ShortString::from(DELAY);
            let expected =
                Route { exchange, routing_key: key.into(), hops: plan, needs: Some(need) };
            assert_eq!(route, expected);
        }
    }

    #[test]
    fn a_retry_takes_one_stage_where_a_scheduled_message_takes_more() {
        let pause = Duration::from_millis(12_345);
        let retry = CopyOf::Retry { failures: 1, history: History::new(), marks: Marks::default() };
        let scheduled = after(pause, queue());
        let retried = Outgoing { copy: Some(retry), ..scheduled.clone() };
        let stages = |outgoing| route(outgoing).unwrap().hops.len() - 1;
        assert_eq!((stages(&scheduled), stages(&retried)), (3, 1));
    }

    #[test]
    fn what_is_due_is_not_delayed() {
        for due in [NOW, NOW.before(Duration::from_secs(1))] {
            let outgoing = Outgoing { due: Some(due), ..queue() };
            assert!(!route(&outgoing).unwrap().is_delayed());
        }
    }

    #[test]
    fn what_amqp_cannot_say_or_the_broker_cannot_wait_for_is_refused() {
        let kind = |outgoing: &Outgoing| route(outgoing).unwrap_err().kind();
        let long = "x".repeat(256);
        assert_eq!(kind(&foreign(&long)), ErrorKind::Misconfigured);
        assert_eq!(kind(&to(Destination::Address(long))), ErrorKind::Misconfigured);
        let late = after(PAUSE_MAX + Duration::from_secs(1), queue());
        assert_eq!(kind(&late), ErrorKind::Unsupported);
        assert!(route(&late).unwrap_err().to_string().contains("queue work"));
    }
}
