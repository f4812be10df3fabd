//! Which queues there are and who subscribed to what: remembered, and read again when anybody changes
//! it.

use crate::error::failed;
use crate::link::Connected;
use std::collections::HashMap;
use std::sync::Arc;
use tramline_core::capabilities::Ordering;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Facts;
use tramline_core::name::QueueName;
use tramline_core::topology::{CompiledRules, QueueSpec, Rule};
use tramline_core::transport::Destination;
use tramline_core::{Error, ErrorKind, Result};

/// What the tables of queues and subscriptions say at one version.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) version: i64,
    queues: HashMap<Arc<str>, Arc<Queue>>,
    topics: HashMap<String, Vec<Subscriber>>,
}

/// A queue that was declared.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: i32,
    pub(crate) spec: QueueSpec,
    /// False when a newer program declared it: then `spec` says no more than its name, and nothing
    /// may be sent to it or received from it.
    pub(crate) is_known: bool,
}

/// A queue with one of its subscriptions. Without a queue, there is none in the database.
pub(crate) struct RouteRow {
    pub(crate) version: i64,
    pub(crate) queue: Option<i32>,
    pub(crate) name: Option<String>,
    pub(crate) spec: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) rules: Option<String>,
}

#[derive(Debug)]
struct Subscriber {
    queue: Arc<Queue>,
    /// `None` for rules that this version cannot read: everything passes, because endpoints check
    /// again what comes through a topic, and what does not pass here is lost.
    rules: Option<CompiledRules>,
}

/// Where one message goes.
pub(crate) type Legs = Vec<Arc<Queue>>;

/// The rank of what has no priority. Smaller is sooner.
const RANK_MAX: i32 = 255;

impl Queue {
    /// Whether a message may be dropped or refused, or is counted when it comes.
    pub(crate) fn judges(&self) -> bool {
        let QueueSpec { length_max, dedup_window, unique, .. } = &self.spec;
        !self.is_known || *unique || length_max.is_some() || dedup_window.is_some()
    }

    /// Why nothing is done with a queue that is not known. The rest of the database can be worked
    /// with, so the program is not outdated as a whole.
    pub(crate) fn unknown(&self, doing: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, doing).because(format!(
            "queue {} was declared by a newer program, in words unknown here: start that one \
             instead",
            self.spec.name
        ))
    }

    /// What a message stands in line in, if it has to: its key, or for the order of the whole
    /// queue, one lane that all share.
    pub(crate) fn lane<'k>(&self, key: Option<&'k str>) -> Option<&'k str> {
        match self.spec.ordering {
            Ordering::None => None,
            Ordering::PerKey => key,
            Ordering::PerQueue => Some(""),
        }
    }

    /// The rank of a message: its priority as far as the queue tells priorities apart.
    pub(crate) fn rank(&self, envelope: &Envelope) -> i32 {
        let priority_max = self.spec.priority_max.unwrap_or(0);
        RANK_MAX - i32::from(envelope.priority.unwrap_or(0).min(priority_max))
    }
}

impl Routes {
    /// Reads them, in one statement: what it answers is of one moment.
    pub(crate) const SQL: &'static str = "SELECT t.version, q.id, q.name, q.spec, s.topic, s.rules
         FROM tramline.topology t LEFT JOIN tramline.queue q ON true
             LEFT JOIN tramline.subscription s ON s.queue = q.id
         ORDER BY q.id, s.topic";

    /// Reads them by a connection of the driver.
    pub(crate) async fn load(connected: &Connected) -> Result<Self> {
        let rows = connected.query(Self::SQL, &[]).await;
        let rows = rows.map_err(|error| failed("read queues and subscriptions", &error))?;
        Ok(Self::of(rows.iter().map(|row| RouteRow {
            version: row.get(0),
            queue: row.get(1),
            name: row.get(2),
            spec: row.get(3),
            topic: row.get(4),
            rules: row.get(5),
        })))
    }

    /// What the rows of [`SQL`](Self::SQL) say, in their order.
    pub(crate) fn of(rows: impl IntoIterator<Item = RouteRow>) -> Self {
        let mut routes = Self::default();
        let mut last: Option<Arc<Queue>> = None;
        for RouteRow { version, queue, name, spec, topic, rules } in rows {
            routes.version = version;
            let (Some(id), Some(name), Some(spec)) = (queue, name, spec) else { break };
            let queue = match last.filter(|queue| queue.id == id) {
                Some(queue) => queue,
                None => match Queue::read(id, &name, &spec) {
                    Some(queue) => routes.add(queue),
                    None => {
                        last = None;
                        continue;
                    }
                },
            };
            if let (Some(topic), Some(rules)) = (topic, rules) {
                routes.subscribe(topic, queue.clone(), &rules);
            }
            last = Some(queue);
        }
        routes
    }

    fn add(&mut self, queue: Queue) -> Arc<Queue> {
        let queue = Arc::new(queue);
        self.queues.insert(queue.spec.name.as_str().into(), queue.clone());
        queue
    }

    fn subscribe(&mut self, topic: String, queue: Arc<Queue>, rules: &str) {
        let rules: Option<Vec<Rule>> = serde_json::from_str(rules).ok();
        let rules = rules.and_then(|rules| CompiledRules::compile(&rules).ok());
        if rules.is_none() {
            tracing::warn!(
                %topic, queue = %queue.spec.name,
                "the rules of this subscription cannot be read: everything passes"
            );
        }
        self.topics.entry(topic).or_default().push(Subscriber { queue, rules });
    }

    pub(crate) fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// Where a message goes; `None` if the queue that it names was not declared.
    pub(crate) fn legs(&self, to: &Destination, envelope: &Envelope) -> Option<Legs> {
        match to {
            Destination::Queue(queue) => {
                Some(vec![self.queues.get(queue.name().as_str())?.clone()])
            }
            Destination::Topic { name, subject } => {
                let facts = Facts::new(subject, &envelope.headers, &envelope.body);
                let subscribers = self.topics.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let matching = subscribers.iter().filter(|subscriber| {
                    let rules = subscriber.rules.as_ref();
                    rules.is_none_or(|rules| rules.matches(subject, &facts))
                });
                Some(matching.map(|subscriber| subscriber.queue.clone()).collect())
            }
            // Who waited there may be gone.
            Destination::Address(address) => {
                Some(self.queues.get(address.as_str()).cloned().into_iter().collect())
            }
            Destination::Foreign { .. } => None,
        }
    }
}

impl Queue {
    fn read(id: i32, name: &str, spec: &str) -> Option<Self> {
        let spec = serde_json::from_str::<QueueSpec>(spec).ok();
        let is_known = spec.is_some();
        let spec = spec.or_else(|| QueueName::new(name).ok().map(QueueSpec::new));
        if spec.is_none() {
            tracing::warn!(queue = %name, "a queue by this name cannot be");
        }
        Some(Self { id, spec: spec?, is_known })
    }
}
