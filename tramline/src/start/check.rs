//! Everything that can be checked before anything is declared.

use super::scheduling::{check_planners, check_schedules};
use super::{BusBuilder, StartError, prefetch};
use crate::breaker::CircuitBreaker;
use crate::bus::Bus;
use crate::endpoint::{Endpoint, RateLimit};
use crate::events;
use crate::handler::Requirements;
use crate::pipeline::States;
use crate::retry::Retry;
use crate::temporary::name_temporary;
use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::capabilities::{Capabilities, Needs, Ordering, Support};
use tramline_core::erased::DynStore;
use tramline_core::name::{self, QueueName, TopicName};
use tramline_core::topology::{CompiledRules, QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::Transport;

/// The whole bus, checked.
pub(super) struct CheckedBus {
    pub(super) topology: Topology,
    pub(super) endpoints: Vec<Checked>,
}

/// One endpoint, checked.
pub(super) struct Checked {
    pub(super) spec: QueueSpec,
    pub(super) subscriptions: Vec<Subscription>,
    /// The rules to be applied here; `None` where the broker applies all.
    pub(super) rules: Option<HashMap<TopicName, CompiledRules>>,
    pub(super) capabilities: Capabilities,
    pub(super) store: Option<Arc<dyn DynStore>>,
}

/// Checks `bus`.
pub(super) fn check<T: Transport>(bus: &BusBuilder<T>) -> Result<CheckedBus, StartError> {
    let mut problems = bus.problems.clone();
    let mut topology = Topology::default();
    for topic in &bus.published {
        match TopicName::new(topic) {
            Ok(topic) => add_topic(&mut topology, topic),
            Err(bad) => problems.push(bad.to_string()),
        }
    }
    let mut queues = HashSet::new();
    let mut names = HashSet::new();
    let mut endpoints = Vec::with_capacity(bus.endpoints.len());
    for endpoint in &bus.endpoints {
        let mut found = endpoint.problems.clone();
        if !names.insert(&endpoint.name) {
            found.push("there is another endpoint of this name".to_owned());
        }
        let checked = check_endpoint(bus, endpoint, &mut found);
        let said = found.into_iter().map(|what| format!("endpoint {}: {what}", endpoint.name));
        problems.extend(said);
        if let Some(checked) = checked {
            if !queues.insert(checked.spec.name.clone()) {
                problems.push(format!(
                    "endpoint {}: queue {} is read by another endpoint of this bus",
                    endpoint.name, checked.spec.name
                ));
            }
            topology.queues.push(checked.spec.clone());
            for subscription in &checked.subscriptions {
                add_topic(&mut topology, subscription.topic.clone());
                topology.subscriptions.push(subscription.clone());
            }
            endpoints.push(checked);
        }
    }
    check_schedules(bus, &mut problems);
    events::check(&bus.events, &bus.states, &bus.stores, true, &mut problems);
    if problems.is_empty() {
        Ok(CheckedBus { topology, endpoints })
    } else {
        Err(StartError::of("the bus", problems))
    }
}

fn add_topic(topology: &mut Topology, topic: TopicName) {
    if !topology.topics.contains(&topic) {
        topology.topics.push(topic);
    }
}

fn check_endpoint<T: Transport>(
    bus: &BusBuilder<T>,
    endpoint: &Endpoint,
    problems: &mut Vec<String>,
) -> Option<Checked> {
    if let Err(bad) = name::check("endpoint", &endpoint.name) {
        problems.push(bad.to_string());
    }
    if endpoint.router().is_empty() {
        problems.push("it has no handler".to_owned());
    }
    check_message_names(endpoint, problems);
    let spec = spec(endpoint, problems);
    let rules = rules(endpoint, problems);
    for (message, requirements) in &endpoint.requirements {
        let who = format!("handler for {message}");
        let around = Around { bus: true, events: !bus.events.is_empty(), plans: true };
        problems.extend(unmet(&who, requirements, &bus.states, around));
    }
    let store = store(bus, endpoint, problems);
    check_planners(bus, endpoint, store.as_ref(), problems);
    check_batch(endpoint, problems);
    problems.extend(endpoint.behaviour.protection.problems());
    if endpoint.behaviour.time_limit.is_some_and(|limit| limit.is_zero()) {
        problems.push("a time limit of 0 lets nothing finish".to_owned());
    }
    check_bridge(endpoint, problems);
    problems.extend(endpoint.versions.problems(&endpoint.router().targets()));
    let (spec, (rules, compiled)) = (spec?, rules);
    let mut spec = spec;
    let capabilities = raise(bus.transport.capabilities(&spec));
    name_temporary(&mut spec, capabilities.temporary_queues, &*bus.entropy);
    for unmet in capabilities.unmet(&needs(endpoint, &spec)) {
        problems.push(format!("{} does not offer {unmet}", bus.transport.name()));
    }
    check_hold(endpoint, &spec, &capabilities, bus.transport.name(), problems);
    let protection = &endpoint.behaviour.protection;
    problems.extend(protection.unfit(&spec, &capabilities, bus.transport.name()));
    check_retention(bus, endpoint, problems);
    check_delay(endpoint, &capabilities, bus.transport.name(), problems);
    warn_of_filters_at_the_endpoint(endpoint, &capabilities, bus.transport.name());
    let queue = spec.name.clone();
    let subscription = |(topic, rules)| Subscription { queue: queue.clone(), topic, rules };
    let subscriptions = rules.into_iter().map(subscription).collect();
    let rules = filters_at_the_endpoint(endpoint, &capabilities).then_some(compiled);
    Some(Checked { spec, subscriptions, rules, capabilities, store })
}

fn check_message_names(endpoint: &Endpoint, problems: &mut Vec<String>) {
    for name in endpoint.router().names() {
        if let Err(bad) = name::check("message", name) {
            problems.push(bad.to_string());
        }
    }
}

fn spec(endpoint: &Endpoint, problems: &mut Vec<String>) -> Option<QueueSpec> {
    let named = || match &endpoint.queue {
        Some(queue) => Ok(QueueSpec::new(queue.clone())),
        None => QueueName::new(&endpoint.name).map(QueueSpec::new),
    };
    match endpoint.spec.clone().map_or_else(named, Ok) {
        Ok(mut spec) => {
            endpoint.wishes.add_to(&mut spec, problems);
            Some(spec)
        }
        Err(bad) => {
            problems.push(bad.to_string());
            None
        }
    }
}

type Rules = (Vec<(TopicName, Vec<Rule>)>, HashMap<TopicName, CompiledRules>);

fn rules(endpoint: &Endpoint, problems: &mut Vec<String>) -> Rules {
    let topics = endpoint.rules(problems);
    let mut compiled = HashMap::new();
    for (topic, rules) in &topics {
        match CompiledRules::compile(rules) {
            Ok(rules) => {
                compiled.insert(topic.clone(), rules);
            }
            Err(faults) => problems.extend(faults.iter().map(ToString::to_string)),
        }
    }
    (topics, compiled)
}

/// What there is beside states.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    pub(crate) bus: bool,
    pub(crate) events: bool,
    /// There may be a transaction that schedules.
    pub(crate) plans: bool,
}

/// What a handler asks for that is not among `states`, and its domain events if there are none.
pub(crate) fn unmet(
    who: &str,
    requirements: &Requirements,
    states: &States,
    around: Around,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (state, name) in &requirements.states {
        // The bus registers itself when it starts.
        let is_bus = around.bus && *state == TypeId::of::<Bus>();
        if !is_bus && !states.has(*state) {
            problems.push(format!(
                "the {who} asks for State<{name}>, which is not registered: add `.state(…)`"
            ));
        }
    }
    for (scope, name) in &requirements.scopes {
        if !states.has(*scope) {
            problems.push(format!(
                "the {who} asks for Scoped<{name}>, which nothing makes: add `.scoped(…)`"
            ));
        }
    }
    if requirements.plans && !around.plans {
        problems.push(format!(
            "the {who} asks for Planner, which is for handlers of messages in transactional endpoints"
        ));
    }
    if requirements.events && !around.events {
        problems.push(format!(
            "the {who} asks for Events, and none are declared: add `.event(…)` to the bus"
        ));
    }
    problems
}

/// The store of a transactional endpoint: the one its handlers ask for, else the only one.
fn store<T>(
    bus: &BusBuilder<T>,
    endpoint: &Endpoint,
    problems: &mut Vec<String>,
) -> Option<Arc<dyn DynStore>> {
    let asked = endpoint.requirements.iter().flat_map(|(message, requirements)| {
        requirements.transactions.iter().map(move |(tx, store)| (message, *tx, *store))
    });
    let mut chosen: Option<Arc<dyn DynStore>> = None;
    for (message, tx, name) in asked {
        if !endpoint.behaviour.transactional {
            problems.push(format!(
                "the handler for {message} asks for Tx<{name}>, and the endpoint is not \
                 `.transactional()`"
            ));
            continue;
        }
        let matching: Vec<_> = bus.stores.iter().filter(|store| store.tx_type() == tx).collect();
        match matching.as_slice() {
            [] => problems.push(format!(
                "the handler for {message} asks for Tx<{name}>, and no such store is registered: \
                 add `.store(…)` to the bus"
            )),
            [store] => match &chosen {
                Some(other) if other.database_dyn() != store.database_dyn() => {
                    problems.push("its handlers ask for transactions of two stores".to_owned());
                }
                _ => chosen = Some((*store).clone()),
            },
            _ => problems.push(format!(
                "the handler for {message} asks for Tx<{name}>, and several such stores are \
                 registered"
            )),
        }
    }
    if !endpoint.behaviour.transactional || chosen.is_some() {
        return chosen;
    }
    match bus.stores.as_slice() {
        [store] => return Some(store.clone()),
        [] => problems.push(
            "it is `.transactional()`, and no store is registered: add `.store(…)` to the bus"
                .to_owned(),
        ),
        _ => problems.push(
            "it is `.transactional()`, several stores are registered, and no handler says by \
             `Tx<…>` which one it is"
                .to_owned(),
        ),
    }
    None
}

/// A time limit charges for what a bridge does not.
fn check_bridge(endpoint: &Endpoint, problems: &mut Vec<String>) {
    let behaviour = &endpoint.behaviour;
    if let (Some(limit), Some(waits)) = (behaviour.time_limit, behaviour.forwards_within)
        && limit <= waits
    {
        problems.push(format!(
            "its time limit of {limit:?} cuts off its bridge, which waits up to {waits:?} for the other bus, and \
             charges the message for that: raise it, or lower `.send_limit(…)` of the other bus"
        ));
    }
}

fn check_batch(endpoint: &Endpoint, problems: &mut Vec<String>) {
    let behaviour = &endpoint.behaviour;
    if !matches!(endpoint.body, crate::endpoint::Body::Batch { .. }) {
        let said =
            [(behaviour.batch.is_some(), "batch(…)"), (behaviour.batch_per_key, "batch_per_key()")];
        let in_vain = said.into_iter().filter(|(is_said, _)| *is_said);
        problems.extend(in_vain.map(|(_, what)| {
            format!("it says `.{what}`, and its handlers take messages one by one: use `.handle_batch(…)`")
        }));
        return;
    }
    if behaviour.batch.is_some_and(|(size_max, _)| size_max == 0) {
        problems.push("its batches would be of 0 messages".to_owned());
    }
    let size = behaviour.gathering().size_max;
    if let Some(prefetch) = behaviour.prefetch
        && size > prefetch as usize
    {
        problems.push(format!("batches of {size} never fill with a prefetch of {prefetch}"));
    }
}

/// What the engine does itself where the transport does not.
fn raise(mut capabilities: Capabilities) -> Capabilities {
    if capabilities.delayed_retry == Support::No && capabilities.delay.is_some() {
        capabilities.delayed_retry = Support::ByBus;
    }
    let filters = &mut capabilities.filters;
    for support in [
        &mut capabilities.dead_letter,
        &mut capabilities.expiry,
        &mut capabilities.key_lock,
        &mut filters.subject,
        &mut filters.headers,
        &mut filters.sql,
    ] {
        if *support == Support::No {
            *support = Support::ByBus;
        }
    }
    capabilities
}

fn needs(endpoint: &Endpoint, spec: &QueueSpec) -> Needs {
    let pauses = endpoint.behaviour.retries.all().map(|retry| retry.pause_max());
    let protection = &endpoint.behaviour.protection;
    let pauses = pauses.chain([protection.pause_max()]);
    Needs {
        ordering: spec.ordering,
        delayed_retry: protection.sends_away() || pauses.max().unwrap_or_default() > Duration::ZERO,
        priority: spec.priority_max.is_some(),
        length_max: spec.length_max.is_some(),
        dedup: spec.dedup_window.is_some(),
        unique: spec.unique,
        keep_completed: spec.keep_completed.is_some(),
        keep_dead: spec.keep_dead.is_some(),
        temporary_queue: spec.temporary,
    }
}

/// Where the bus keeps the order, a message stays unsettled through all its pauses.
fn check_hold(
    endpoint: &Endpoint,
    spec: &QueueSpec,
    can: &Capabilities,
    transport: &str,
    problems: &mut Vec<String>,
) {
    let behaviour = &endpoint.behaviour;
    let is_held = spec.ordering != Ordering::None && !can.key_lock.is_native();
    let protection = &behaviour.protection;
    let period = protection.per_key.rate.filter(|_| is_held).map(RateLimit::period);
    let open_for = protection.breaker.as_ref().map(CircuitBreaker::open_for);
    if let (Some(period), Some(open_for)) = (period, open_for)
        && period > open_for
    {
        problems.push(format!(
            "a message with which its circuit breaker tries may wait {period:?} for the rate of its key, and keeps \
             its ordered queue waiting: stay open for as long, by `.open_for(…)`, or leave one of them out"
        ));
    }
    let Some(hold_max) = can.hold_max else { return };
    // All that this process has taken may be of one key.
    let prefetch = prefetch_max(endpoint);
    let last = period.map(|period| period.saturating_mul(prefetch));
    if let Some(last) = last.filter(|last| *last > hold_max) {
        problems.push(format!(
            "its rate for each key makes the last of {prefetch} messages of its ordered queue wait for {last:?}, \
             and {transport} lets one stay unsettled for at most {hold_max:?} (capability `hold_max`): lower \
             `.prefetch(…)`"
        ));
    }
    if !is_held || behaviour.held_too_long.is_some() {
        return;
    }
    let probes = |retry: &Retry| match &behaviour.protection.breaker {
        Some(_) => behaviour.protection.probes_total(retry.pauses_max()),
        None => Duration::ZERO,
    };
    let pauses = |retry: &Retry| retry.pauses_total().saturating_add(probes(retry));
    let pauses = behaviour.retries.all().map(pauses);
    let pauses = pauses.max().unwrap_or_default().max(behaviour.unhandled.limit);
    if pauses > hold_max {
        problems.push(format!(
            "its pauses may hold a message of its ordered queue for {pauses:?}, and {transport} \
             lets one stay unsettled for at most {hold_max:?} (capability `hold_max`): shorten \
             `.retry(…)` or `.unhandled_after(…)`, or say `.when_held_too_long(…)`"
        ));
    }
}

/// How many messages `endpoint` may hold unsettled.
fn prefetch_max(endpoint: &Endpoint) -> u32 {
    let behaviour = &endpoint.behaviour;
    let batch = matches!(endpoint.body, crate::endpoint::Body::Batch { .. });
    let batch_size = if batch { behaviour.gathering().size_max } else { 1 };
    let [_, most] = prefetch(behaviour.prefetch, behaviour.concurrency, batch_size);
    most
}

/// A message that is still being retried must still be known.
fn check_retention<T>(bus: &BusBuilder<T>, endpoint: &Endpoint, problems: &mut Vec<String>) {
    if !endpoint.behaviour.transactional {
        return;
    }
    let pauses = endpoint.behaviour.retries.all().map(|retry| retry.pauses_total());
    let (pauses, retention) = (pauses.max().unwrap_or_default(), bus.inbox_retention);
    if pauses > retention {
        problems.push(format!(
            "its retries may pause {pauses:?} together, and the inbox forgets after {retention:?}"
        ));
    }
}

/// A pause that is a delayed copy must not be longer than the transport can delay.
fn check_delay(
    endpoint: &Endpoint,
    can: &Capabilities,
    transport: &str,
    problems: &mut Vec<String>,
) {
    let (Support::ByBus, Some(delay_max)) =
        (can.delayed_retry, can.delay.and_then(|delay| delay.max))
    else {
        return;
    };
    let behaviour = &endpoint.behaviour;
    let pauses = behaviour.retries.all().map(|retry| retry.pause_max());
    let pause = pauses.max().unwrap_or_default().max(behaviour.unhandled.pause);
    if pause > delay_max {
        problems.push(format!(
            "its retries may pause {pause:?}, and {transport} delays for at most {delay_max:?}"
        ));
    }
    let probe_pause = behaviour.protection.pause_max();
    if probe_pause > delay_max {
        problems.push(format!(
            "its circuit breaker sends messages away for {probe_pause:?}, and {transport} delays for at \
             most {delay_max:?}: shorten `.open_for(…)`"
        ));
    }
}

/// Whether any rule of the endpoint is one that the broker does not apply.
fn filters_at_the_endpoint(endpoint: &Endpoint, can: &Capabilities) -> bool {
    let here = |support: Support| !support.is_native();
    endpoint
        .subscriptions
        .iter()
        .any(|(_, rule)| here(can.filters.subject) || here(can.filters.of(&rule.filter)))
}

fn warn_of_filters_at_the_endpoint(endpoint: &Endpoint, can: &Capabilities, transport: &str) {
    for (_, rule) in &endpoint.subscriptions {
        if can.filters.of(&rule.filter) == Support::ByBus {
            let (endpoint, filter) = (&endpoint.name, &rule.filter);
            tracing::info!(endpoint, %filter, transport, "filtered at the endpoint, not the broker");
        }
    }
}
