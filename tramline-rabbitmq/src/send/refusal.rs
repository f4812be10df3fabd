//! Which message the broker closed a channel for. Pure.
//!
//! It says so in words only. All others on the channel are published again; the one to blame would
//! only close the next.

use super::answer::error;
use super::route::Published;
use crate::error::kind;
use crate::names::DELAY;
use lapin::ErrorKind as Reported;
use lapin::types::ShortString;
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind};

/// What a user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forbidden {
    /// Publish to the exchange at all.
    Exchange(ShortString),
    /// Publish to the topic exchange with this routing key.
    RoutingKey(Published),
}

/// What the broker refused to this message, and in which words; `None` if the channel was closed for
/// another one.
pub(crate) fn forbidden(broken: &lapin::Error, to: &Published) -> Option<(Forbidden, String)> {
    if kind(broken) != ErrorKind::Refused {
        return None;
    }
    let said = words(broken)?;
    let Published { exchange, routing_key } = to;
    // Its name in permissions and in errors.
    let name = if exchange.as_str().is_empty() { "amq.default" } else { exchange.as_str() };
    let is_about_all = [("access to exchange '", name), ("internal exchange '", name)]
        .into_iter()
        .any(|(begin, name)| says(said, begin, &format!("{name}' in vhost")));
    let key = format!("{routing_key}' in exchange '{name}' in vhost");
    let forbidden = if is_about_all {
        Forbidden::Exchange(exchange.clone())
    } else if says(said, "access to topic '", &key) {
        Forbidden::RoutingKey(to.clone())
    } else {
        return None;
    };
    Some((forbidden, said.to_owned()))
}

/// The error of a message that the broker finds too large, if it is the one.
pub(crate) fn too_large(broken: &lapin::Error, outgoing: &Outgoing) -> Option<Error> {
    let said = words(broken)?;
    let body = outgoing.envelope.body.len();
    let is_it =
        kind(broken) == ErrorKind::Conflict && said.contains(&format!("message size {body} "));
    is_it.then(|| error(ErrorKind::TooLarge, &outgoing.to).because(said.to_owned()))
}

impl Forbidden {
    /// Whether it holds for what is published there.
    pub(crate) fn holds_for(&self, to: &Published) -> bool {
        match self {
            Self::Exchange(exchange) => *exchange == to.exchange,
            Self::RoutingKey(forbidden) => forbidden == to,
        }
    }

    /// The error of `outgoing`; `said` are the broker's words.
    pub(crate) fn error(&self, outgoing: &Outgoing, said: &str) -> Error {
        let needs = match self {
            _ if said.contains("internal exchange '") => {
                "only the broker publishes to an internal exchange".to_owned()
            }
            Self::Exchange(exchange) if exchange.as_str().is_empty() => {
                "the user needs the permission to write to `amq.default`, through which all messages \
                 to queues are sent"
                    .to_owned()
            }
            Self::Exchange(exchange) if exchange.as_str() == DELAY => {
                "the user needs the permissions to configure, write and read what begins with \
                 `tramline.`, through which all that is delayed is sent"
                    .to_owned()
            }
            Self::Exchange(exchange) => {
                format!("the user needs the permission to write to the exchange `{exchange}`")
            }
            Self::RoutingKey(Published { exchange, routing_key }) => format!(
                "the user needs the topic permission to write `{routing_key}` to the exchange \
                 `{exchange}`"
            ),
        };
        error(ErrorKind::Refused, &outgoing.to).because(format!("{said} ({needs})"))
    }
}

fn words(broken: &lapin::Error) -> Option<&str> {
    match broken.kind() {
        Reported::ProtocolError(error) => Some(error.get_message().as_str()),
        _ => None,
    }
}

/// Whether `said` goes on with `rest` behind `begin`. The broker cuts what it says to 255 bytes.
fn says(said: &str, begin: &str, rest: &str) -> bool {
    let Some((_, said)) = said.split_once(begin) else { return false };
    said.starts_with(rest) || said.strip_suffix("...").is_some_and(|cut| rest.starts_with(cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::{AMQPError, AMQPSoftError};
    use tramline_core::envelope::Envelope;
    use tramline_core::transport::Destination;

    const ACCESS: AMQPSoftError = AMQPSoftError::ACCESSREFUSED;

    fn broken(soft: AMQPSoftError, said: &str) -> lapin::Error {
        Reported::ProtocolError(AMQPError::new(soft.into(), said.into())).into()
    }

    fn to(exchange: &str, routing_key: &str) -> Published {
        Published { exchange: exchange.into(), routing_key: routing_key.into() }
    }

    fn outgoing(bytes: usize) -> Outgoing {
        let envelope = Envelope { body: vec![0; bytes].into(), ..Envelope::default() };
        let to = Destination::Address("answers".to_owned());
        Outgoing { to, envelope: envelope.into(), due: None, copy: None }
    }

    #[test]
    fn a_forbidden_exchange_is_that_of_all_who_publish_to_it_and_of_nobody_else() {
        let denied = |exchange: &str| {
            let who = "in vhost '/' refused for user 'u'";
            broken(ACCESS, &format!("ACCESS_REFUSED - access to exchange '{exchange}' {who}"))
        };
        let is_for = |exchange, published: &Published| {
            forbidden(&denied(exchange), published).map(|(forbidden, _)| forbidden)
        };
        let orders = to("orders", "orders.placed");
        assert_eq!(is_for("orders", &orders), Some(Forbidden::Exchange("orders".into())));
        assert_eq!(is_for("orders", &to("", "orders")), None);
        assert_eq!(is_for("orders", &to("order", "orders")), None);
        assert_eq!(is_for("amq.default", &to("", "work")), Some(Forbidden::Exchange("".into())));
        assert_eq!(is_for("amq.default", &orders), None);
        let internal = "ACCESS_REFUSED - cannot publish to internal exchange 'orders' in vhost '/'";
        let (forbidden, said) = forbidden(&broken(ACCESS, internal), &orders).unwrap();
        let error = forbidden.error(&outgoing(0), &said).to_string();
        assert!(error.contains("only the broker publishes"), "{error}");
    }

    #[test]
    fn a_forbidden_routing_key_is_that_of_its_exchange_alone() {
        let said = "ACCESS_REFUSED - access to topic 'a.b' in exchange 'orders' in vhost '/' refused \
                    for user 'u'";
        let is_for = |published: &Published| forbidden(&broken(ACCESS, said), published).is_some();
        assert!(is_for(&to("orders", "a.b")));
        for other in [to("orders", "a"), to("orders", "a.c"), to("stock", "a.b"), to("", "a.b")] {
            assert!(!is_for(&other), "{other:?}");
        }
    }

    #[test]
    fn a_name_that_the_broker_has_cut_off_is_known_by_its_beginning() {
        let (long, other) = ("x".repeat(250), format!("y{}", "x".repeat(249)));
        let said = format!("ACCESS_REFUSED - access to exchange '{long}");
        let said = broken(ACCESS, &format!("{}...", &said[..252]));
        assert!(forbidden(&said, &to(&long, "key")).is_some());
        assert_eq!(forbidden(&said, &to(&other, "key")), None);
    }

    #[test]
    fn a_message_is_too_large_if_its_size_is_named() {
        let said = "PRECONDITION_FAILED - message size 17 is larger than configured max size 16";
        let said = broken(AMQPSoftError::PRECONDITIONFAILED, said);
        assert_eq!(too_large(&said, &outgoing(17)).unwrap().kind(), ErrorKind::TooLarge);
        assert!(too_large(&said, &outgoing(170)).is_none());
        assert!(too_large(&said, &outgoing(1)).is_none());
    }

    /// It is declared, or looked for, before the next attempt.
    #[test]
    fn an_exchange_that_is_gone_forbids_nothing() {
        let missing =
            broken(AMQPSoftError::NOTFOUND, "NOT_FOUND - no exchange 'orders' in vhost '/'");
        assert_eq!(forbidden(&missing, &to("orders", "a.b")), None);
    }
}
