//! What is remembered of all declarations in a vhost: the broker can list neither what a queue was
//! declared with nor its bindings. Pure.

use super::topic_bindings::{TopicBinding, topic_bindings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::{Error, ErrorKind, Result};

/// The form in which a record is written. A program refuses a newer one.
const FORM: u32 = 1;

/// What every queue was declared with last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    form: u32,
    /// Grows with every change: of two records, as one that dies in between leaves them, the larger
    /// one holds.
    pub(super) generation: u64,
    #[serde(default)]
    queues: BTreeMap<QueueName, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// A [`QueueSpec`]; a newer program may say more in it than is understood here.
    spec: serde_json::Value,
    #[serde(default)]
    subscriptions: Vec<Subscribed>,
    /// Every binding that there may be.
    #[serde(default)]
    bindings: Vec<TopicBinding>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Subscribed {
    topic: TopicName,
    rules: Vec<Rule>,
    /// Who declared the queue last did not ask for it.
    #[serde(default, skip_serializing_if = "is_false")]
    orphaned: bool,
}

fn is_false(truth: &bool) -> bool {
    !truth
}

/// What becomes of a record and the bindings, in this order.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// Written first, so that no binding is ever there that is not in the record; `None` if the
    /// record says it already.
    pub(super) before: Option<Record>,
    pub(super) bind: Vec<(QueueName, TopicBinding)>,
    pub(super) unbind: Vec<(QueueName, TopicBinding)>,
    /// Written last; `None` if nothing is left to say.
    pub(super) after: Option<Record>,
}

impl Default for Record {
    fn default() -> Self {
        Self { form: FORM, generation: 0, queues: BTreeMap::new() }
    }
}

impl Record {
    /// Reads what was written.
    ///
    /// # Errors
    /// [`ErrorKind::Outdated`] if a newer program has written it, [`ErrorKind::Corrupt`] if none has.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            form: u32,
        }
        let doing = "read what was declared in this vhost (queue tramline.registry)";
        let corrupt = |error: serde_json::Error| {
            Error::new(ErrorKind::Corrupt, format!("{doing}; purge the queue to begin it anew"))
                .because(error)
        };
        let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
        if head.form > FORM {
            return Err(Error::new(ErrorKind::Outdated, doing)
                .because(format!("a newer program has written it, in form {}", head.form)));
        }
        serde_json::from_slice(bytes).map_err(corrupt)
    }

    /// As it is written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names, rules and JSON")
    }

    /// What `queue` was declared with, if that is known and understood.
    pub(crate) fn spec(&self, queue: &QueueName) -> Option<QueueSpec> {
        QueueSpec::deserialize(&self.queues.get(queue)?.spec).ok()
    }

    /// Whether `queue` was declared.
    pub(crate) fn has(&self, queue: &QueueName) -> bool {
        self.queues.contains_key(queue)
    }

    /// Every queue, by name.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        self.queues.keys().cloned().collect()
    }

    /// Every subscription, orphans included, by queue and topic.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        self.subscribed(|_| true)
    }

    /// The subscriptions that who declared their queue last did not ask for.
    pub(crate) fn orphans(&self) -> Vec<Subscription> {
        self.subscribed(|subscribed| subscribed.orphaned)
    }

    fn subscribed(&self, wanted: impl Fn(&Subscribed) -> bool) -> Vec<Subscription> {
        let all = self.queues.iter().flat_map(|(queue, entry)| {
            entry.subscriptions.iter().map(move |subscribed| (queue, subscribed))
        });
        let wanted = all.filter(|(_, subscribed)| wanted(subscribed));
        let shown = wanted.map(|(queue, Subscribed { topic, rules, .. })| Subscription {
            queue: queue.clone(),
            topic: topic.clone(),
            rules: rules.clone(),
        });
        shown.collect()
    }

    /// What `topology` changes. What is temporary is not remembered but for the queue's name, under
    /// which its dead letters are found.
    pub(super) fn declare(&self, topology: &Topology) -> Change {
        let mut after = self.clone();
        for spec in &topology.queues {
            let entry = after.queues.entry(spec.name.clone()).or_default();
            entry.spec = serde_json::to_value(spec).expect("a specification is JSON");
            for subscribed in &mut entry.subscriptions {
                subscribed.orphaned = true;
            }
        }
        for Subscription { queue, topic, rules } in lasting(topology) {
            let entry = after.queues.entry(queue.clone()).or_default();
            entry.subscribe(topic, rules);
        }
        self.change(after, |queue| lasting(topology).any(|asked| asked.queue == *queue))
    }

    /// What is to be bound again so that `topology` works as whoever declared it last has asked.
    /// Of what is not remembered, the topology itself says it.
    pub(super) fn restore(&self, topology: &Topology) -> Change {
        let mut forgotten = topology.clone();
        forgotten.queues.retain(|spec| !self.has(&spec.name));
        forgotten.subscriptions.retain(|subscription| !self.has(&subscription.queue));
        let mut change = self.declare(&forgotten);
        for spec in topology.queues.iter().filter(|spec| !spec.temporary) {
            if let Some(entry) = self.queues.get(&spec.name) {
                change.bind.extend(
                    entry.bindings.iter().map(|binding| (spec.name.clone(), binding.clone())),
                );
            }
        }
        change
    }

    /// What ends the subscription of `queue` to `topic`; `None` if there is none.
    pub(super) fn unsubscribe(&self, queue: &QueueName, topic: &TopicName) -> Option<Change> {
        let mut after = self.clone();
        let entry = after.queues.get_mut(queue)?;
        let is_other = |other: &TopicName| other != topic;
        if entry.subscriptions.iter().all(|subscribed| is_other(&subscribed.topic)) {
            return None;
        }
        entry.subscriptions.retain(|subscribed| is_other(&subscribed.topic));
        entry.bindings.retain(|binding| is_other(&binding.topic));
        Some(self.change(after, |_| false))
    }

    /// From this record to `after`; the bindings of queues that are `touched` are made again.
    fn change(&self, mut after: Self, touched: impl Fn(&QueueName) -> bool) -> Change {
        let none = Entry::default();
        let (mut bind, mut unbind) = (Vec::new(), Vec::new());
        let mut before = after.clone();
        for (queue, entry) in &after.queues {
            let old = &self.queues.get(queue).unwrap_or(&none).bindings;
            let named = |binding: &TopicBinding| (queue.clone(), binding.clone());
            if touched(queue) {
                bind.extend(entry.bindings.iter().map(named));
            }
            let stale: Vec<&TopicBinding> =
                old.iter().filter(|binding| !entry.bindings.contains(binding)).collect();
            unbind.extend(stale.iter().map(|binding| named(binding)));
            let union = before.queues.get_mut(queue).expect("a copy");
            union.bindings.extend(stale.into_iter().cloned());
        }
        let is_news = |record: &Self| record.queues != self.queues;
        let is_final = unbind.is_empty();
        before.generation = self.generation + 1;
        after.generation = self.generation + 2;
        let before = is_news(&before).then_some(before);
        Change { before, bind, unbind, after: (!is_final).then_some(after) }
    }
}

impl Entry {
    fn subscribe(&mut self, topic: &TopicName, rules: &[Rule]) {
        let subscribed =
            Subscribed { topic: topic.clone(), rules: rules.to_owned(), orphaned: false };
        match self.subscriptions.iter_mut().find(|known| known.topic == *topic) {
            Some(known) => *known = subscribed,
            None => self.subscriptions.push(subscribed),
        }
        self.bindings.retain(|binding| binding.topic != *topic);
        self.bindings.extend(topic_bindings(topic, rules));
    }
}

/// The subscriptions that stay when this process ends.
pub(super) fn lasting(topology: &Topology) -> impl Iterator<Item = &Subscription> {
    topology
        .subscriptions
        .iter()
        .filter(|subscription| !is_temporary(topology, &subscription.queue))
}

/// Whether `topology` asks for a queue of this name that is gone with its connection.
fn is_temporary(topology: &Topology, queue: &QueueName) -> bool {
    topology.queues.iter().any(|spec| spec.name == *queue && spec.temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> QueueName {
        QueueName::foreign(name)
    }

    fn subscription(queue: &str, topic: &str, subjects: &[&str]) -> Subscription {
        let rules = subjects.iter().map(|subject| Rule::subject(*subject)).collect();
        Subscription { queue: name(queue), topic: TopicName::foreign(topic), rules }
    }

    fn topology(queue: &str, subscriptions: Vec<Subscription>) -> Topology {
        Topology { queues: vec![QueueSpec::new(name(queue))], topics: Vec::new(), subscriptions }
    }

    /// The record after `change` was carried out.
    fn done(record: &Record, change: &Change) -> Record {
        let last = change.after.as_ref().or(change.before.as_ref()).unwrap_or(record);
        Record::read(&last.bytes()).unwrap()
    }

    fn keys(bindings: &[(QueueName, TopicBinding)]) -> Vec<String> {
        bindings
            .iter()
            .map(|(queue, binding)| format!("{queue} {} {}", binding.topic, binding.key))
            .collect()
    }

    #[test]
    fn what_is_bound_was_recorded_before_and_what_is_stale_goes_and_is_forgotten_then() {
        let empty = Record::default();
        let first = topology("work", vec![subscription("work", "orders", &["a", "b"])]);
        let change = empty.declare(&first);
        assert_eq!(keys(&change.bind), ["work orders a", "work orders b"]);
        assert!(change.unbind.is_empty() && change.after.is_none(), "{change:?}");
        let record = done(&empty, &change);
        assert_eq!(record.subscriptions(), first.subscriptions);

        let second = topology("work", vec![subscription("work", "orders", &["b", "c"])]);
        let change = record.declare(&second);
        let before = change.before.as_ref().unwrap();
        assert_eq!(before.queues[&name("work")].bindings.len(), 3, "old and new");
        assert_eq!(keys(&change.bind), ["work orders b", "work orders c"]);
        assert_eq!(keys(&change.unbind), ["work orders a"]);
        assert!(before.generation > record.generation);
        assert!(change.after.as_ref().unwrap().generation > before.generation);

        // Who dies before the last record leaves the stale one in it: it goes the next time.
        let again = before.declare(&second);
        assert_eq!(keys(&again.unbind), ["work orders a"]);
        let record = done(before, &again);
        assert_eq!(record.queues[&name("work")].bindings.len(), 2);
    }

    #[test]
    fn nothing_is_written_where_nothing_changes_and_everything_is_bound_again() {
        let first = topology(
            "work",
            vec![subscription("work", "orders", &["#"]), subscription("work", "stock", &["#"])],
        );
        let record = done(&Record::default(), &Record::default().declare(&first));
        let change = record.declare(&first);
        assert_eq!((&change.before, &change.after), (&None, &None));
        assert_eq!(keys(&change.bind), ["work orders #", "work stock #"]);
    }

    #[test]
    fn what_is_not_asked_for_any_more_stays_bound_until_somebody_ends_it() {
        let both = topology(
            "work",
            vec![subscription("work", "orders", &["#"]), subscription("work", "stock", &["#"])],
        );
        let record = done(&Record::default(), &Record::default().declare(&both));
        let less = topology("work", vec![subscription("work", "stock", &["#"])]);
        let change = record.declare(&less);
        assert!(change.unbind.is_empty());
        let record = done(&record, &change);
        assert_eq!(record.orphans(), [subscription("work", "orders", &["#"])]);
        assert_eq!(record.subscriptions().len(), 2);

        let orders = TopicName::foreign("orders");
        let change = record.unsubscribe(&name("work"), &orders).unwrap();
        assert_eq!(keys(&change.unbind), ["work orders #"]);
        let record = done(&record, &change);
        assert!(record.orphans().is_empty());
        assert_eq!(record.unsubscribe(&name("work"), &orders), None);
    }

    #[test]
    fn what_comes_back_is_what_was_declared_last_and_else_what_is_known_here() {
        let newer = topology("work", vec![subscription("work", "orders", &["new"])]);
        let record = done(&Record::default(), &Record::default().declare(&newer));
        let mut older = topology("work", vec![subscription("work", "orders", &["old"])]);
        older.queues.push(QueueSpec::new(name("mail")));
        older.subscriptions.push(subscription("mail", "orders", &["mine"]));
        let change = record.restore(&older);
        assert_eq!(keys(&change.bind), ["mail orders mine", "work orders new"]);
        assert!(change.unbind.is_empty());
        let record = done(&record, &change);
        assert_eq!(record.queues(), [name("mail"), name("work")]);
        assert_eq!(record.orphans(), []);
    }

    #[test]
    fn subscriptions_of_temporary_queues_are_not_remembered() {
        let mut passing = topology("work", vec![subscription("work", "orders", &["#"])]);
        passing.queues[0].temporary = true;
        let change = Record::default().declare(&passing);
        assert!(change.bind.is_empty());
        let record = done(&Record::default(), &change);
        assert_eq!((record.queues(), record.subscriptions()), (vec![name("work")], vec![]));
    }

    #[test]
    fn what_a_newer_program_says_of_a_queue_is_kept_and_its_form_is_refused() {
        let text =
            r#"{"form":1,"generation":4,"queues":{"other":{"spec":{"name":"other","new":1}}}}"#;
        let record = Record::read(text.as_bytes()).unwrap();
        assert_eq!((record.queues(), record.spec(&name("other"))), (vec![name("other")], None));
        let record = done(&record, &record.declare(&topology("work", Vec::new())));
        assert_eq!(record.queues[&name("other")].spec["new"], 1);

        let newer = text.replace(r#""form":1"#, r#""form":2"#);
        let error = Record::read(newer.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Outdated);
        assert_eq!(Record::read(b"?").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
