//! A topology is checked before anything is asked of the broker. Pure.

use super::arguments::Faults;
use super::form::QueuePlan;
use crate::names::OWN_PREFIX;
use tramline_core::topology::{CompiledRules, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

/// What each queue of `topology` looks like on the broker.
///
/// # Errors
/// Everything that speaks against it, told at once.
pub(super) fn plans(topology: &Topology) -> Result<Vec<QueuePlan>> {
    let mut faults = Faults::default();
    let mut plans = Vec::with_capacity(topology.queues.len());
    for spec in &topology.queues {
        match QueuePlan::of(spec) {
            Ok(plan) => plans.push(plan),
            Err(more) => faults.extend(more),
        }
    }
    let queues = topology.queues.iter().map(|spec| ("queue", spec.name.as_str()));
    let topics = topology.topics.iter().map(|topic| ("topic", topic.as_str()));
    let own = queues.chain(topics).filter(|(_, name)| name.starts_with(OWN_PREFIX));
    faults.wrong.extend(own.map(|(what, name)| {
        format!("{what} {name}: names that begin with `{OWN_PREFIX}` are the bus's own")
    }));
    faults.wrong.extend(topology.subscriptions.iter().filter_map(faulty_rules));
    let Faults { unsupported, mut wrong } = faults;
    if wrong.is_empty() && unsupported.is_empty() {
        return Ok(plans);
    }
    if wrong.is_empty() {
        return Err(Error::unsupported(&unsupported.join(", "), "rabbitmq"));
    }
    wrong.extend(unsupported.into_iter().map(|what| format!("rabbitmq does not offer {what}")));
    Err(Error::new(ErrorKind::Misconfigured, "declare a topology").because(wrong.join("; ")))
}

fn faulty_rules(subscription: &Subscription) -> Option<String> {
    let faults = CompiledRules::compile(&subscription.rules).err()?;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let Subscription { queue, topic, .. } = subscription;
    Some(format!("queue {queue} on topic {topic}: {}", faults.join(", ")))
}
