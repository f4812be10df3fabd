//! Topologies that scenarios declare.

use super::message::{queue_name, topic_name};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};

/// Plain queues.
pub(crate) fn queues<'a>(names: impl IntoIterator<Item = &'a str>) -> Topology {
    let queues = names.into_iter().map(plain).collect();
    Topology { queues, ..Topology::default() }
}

/// The one queue `spec`.
pub(crate) fn one_queue(spec: QueueSpec) -> Topology {
    Topology { queues: vec![spec], ..Topology::default() }
}

/// A queue without wishes.
pub(crate) fn plain(name: &str) -> QueueSpec {
    QueueSpec::new(queue_name(name))
}

/// `topology`, with `queue` subscribed to `topic` by `rules`.
pub(crate) fn subscribed(
    mut topology: Topology,
    queue: &str,
    topic: &str,
    rules: impl IntoIterator<Item = Rule>,
) -> Topology {
    let subscription = Subscription {
        queue: queue_name(queue),
        topic: topic_name(topic),
        rules: rules.into_iter().collect(),
    };
    topology = with_topic(topology, topic);
    topology.subscriptions.push(subscription);
    topology
}

/// `topology`, with `topic`.
pub(crate) fn with_topic(mut topology: Topology, topic: &str) -> Topology {
    let topic = topic_name(topic);
    if !topology.topics.contains(&topic) {
        topology.topics.push(topic);
    }
    topology
}
