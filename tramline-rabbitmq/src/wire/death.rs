//! Why the broker killed a message, out of its header `x-death`.

use super::value::{moment, text};
use crate::names::OWN_PREFIX;
use lapin::types::{AMQPValue, FieldTable};
use tramline_core::clock::Timestamp;
use tramline_core::dead::Reason;
use tramline_core::name::QueueName;
use tramline_core::wire::Death;

/// In which queue the broker killed the message last, why and when. The ends of waiting in a stage
/// of ours are no deaths.
pub(super) fn last(deaths: &AMQPValue) -> Option<(QueueName, Death)> {
    let AMQPValue::FieldArray(deaths) = deaths else { return None };
    deaths.as_slice().iter().find_map(|death| match death {
        AMQPValue::FieldTable(death) => of(death),
        _ => None,
    })
}

fn of(death: &FieldTable) -> Option<(QueueName, Death)> {
    let get = |name: &str| death.inner().get(name);
    let queue = get("queue").and_then(text)?;
    if queue.starts_with(OWN_PREFIX) {
        return None;
    }
    let failed_at = match get("time") {
        Some(AMQPValue::Timestamp(seconds)) => moment(*seconds).ok(),
        _ => None,
    };
    let death = Death {
        reason: reason(get("reason").and_then(text)?),
        first_failed_at: None,
        // The reason matters more than the moment, which every broker writes.
        failed_at: failed_at.unwrap_or(Timestamp::default()),
    };
    Some((QueueName::foreign(queue), death))
}

fn reason(word: &str) -> Reason {
    match word {
        "expired" => Reason::Expired,
        // Whoever took it never said how it ended, time after time.
        "delivery_limit" => Reason::Poison,
        other => Reason::Other(other.to_owned()),
    }
}
