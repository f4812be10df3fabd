//! Which queues there are, who subscribed to what, and which other process reads which queue:
//! remembered, and read again when anybody changes it.

use crate::writer::Member;
use rusqlite::Connection;
use std::collections::HashMap;
use std::sync::Arc;
use tramline_core::capabilities::Ordering;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Facts;
use tramline_core::name::QueueName;
use tramline_core::topology::{CompiledRules, QueueSpec, Rule};
use tramline_core::transport::Destination;
use tramline_core::{Error, ErrorKind};

/// What the tables of queues, subscriptions and consumers say at one version.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) version: i64,
    /// Other processes that can be woken, and what they read.
    pub(crate) neighbours: Vec<Neighbour>,
    queues: HashMap<Arc<str>, Arc<Queue>>,
    /// Those that are more than rows in their order, by their id.
    particular: HashMap<i64, Arc<Queue>>,
    /// Those of which something is to be forgotten with time.
    pub(crate) forgetful: Vec<Arc<Queue>>,
    topics: HashMap<String, Vec<Subscriber>>,
}

/// A queue that was declared.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: i64,
    pub(crate) spec: QueueSpec,
    /// False when a newer program declared it: then `spec` says no more than its name, and nothing
    /// may be sent to it or received from it.
    pub(crate) is_known: bool,
}

#[derive(Debug)]
struct Subscriber {
    queue: Arc<Queue>,
    /// `None` for rules that this version cannot read: everything passes, because endpoints check
    /// again what comes through a topic, and what does not pass here is lost.
    rules: Option<CompiledRules>,
}

/// Another process on the same file.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) port: u16,
    pub(crate) queues: Vec<i64>,
}

/// Where one message goes: one leg for each queue.
pub(crate) type Legs = Vec<Leg>;

/// A message's way into one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) queue: i64,
    pub(crate) rank: i64,
    /// There is more to do than to write a row: see [`Queue::is_particular`].
    pub(crate) is_particular: bool,
}

impl Queue {
    /// Whether anything but rows has to be kept right when messages come and go.
    fn is_particular(&self) -> bool {
        let QueueSpec { ordering, length_max, dedup_window, unique, keep_completed, .. } =
            &self.spec;
        !self.is_known
            || *ordering != Ordering::None
            || length_max.is_some()
            || dedup_window.is_some()
            || *unique
            || keep_completed.is_some()
    }

    /// Whether something of it is to be forgotten with time.
    fn is_forgetful(&self) -> bool {
        let QueueSpec { dedup_window, keep_completed, keep_dead, .. } = &self.spec;
        dedup_window.is_some() || keep_completed.is_some() || keep_dead.is_some()
    }

    /// Why nothing is done with a queue that is not known. The rest of the file can be worked with, so
    /// the program is not outdated as a whole.
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

    /// The rank of a message: its priority as far as the queue tells priorities apart, negated.
    pub(crate) fn rank(&self, envelope: &Envelope) -> i64 {
        let priority_max = self.spec.priority_max.unwrap_or(0);
        -i64::from(envelope.priority.unwrap_or(0).min(priority_max))
    }
}

impl Routes {
    /// Changes whenever anything that [`Routes::load`] reads does.
    pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
        connection
            .prepare_cached("SELECT value FROM tramline_counter WHERE name = 'topology'")?
            .query_row([], |row| row.get(0))
    }

    pub(crate) fn load(
        connection: &Connection,
        version: i64,
        this: &Member,
    ) -> rusqlite::Result<Self> {
        let mut routes = Self { version, ..Self::default() };
        let mut by_id = HashMap::new();
        let mut queues = connection.prepare("SELECT id, name, spec FROM tramline_queue")?;
        let mut rows = queues.query([])?;
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            let name: Arc<str> = row.get(1)?;
            let spec = from_json::<QueueSpec>(row.get_ref(2)?.as_str()?).ok();
            let is_known = spec.is_some();
            let Some(spec) = spec.or_else(|| QueueName::new(&*name).ok().map(QueueSpec::new))
            else {
                tracing::warn!(queue = %name, "a queue by this name cannot be");
                continue;
            };
            let queue = Arc::new(Queue { id, spec, is_known });
            by_id.insert(id, queue.clone());
            if queue.is_particular() {
                routes.particular.insert(id, queue.clone());
            }
            if queue.is_forgetful() {
                routes.forgetful.push(queue.clone());
            }
            routes.queues.insert(name, queue);
        }
        let mut subscriptions =
            connection.prepare("SELECT topic, queue, rules FROM tramline_subscription")?;
        let mut rows = subscriptions.query([])?;
        while let Some(row) = rows.next()? {
            let topic: String = row.get(0)?;
            let Some(queue) = by_id.get(&row.get(1)?) else { continue };
            let rules: Option<Vec<Rule>> = from_json(row.get_ref(2)?.as_str()?).ok();
            let rules = rules.and_then(|rules| CompiledRules::compile(&rules).ok());
            if rules.is_none() {
                tracing::warn!(
                    %topic, queue = %queue.spec.name,
                    "the rules of this subscription cannot be read: everything passes"
                );
            }
            let subscriber = Subscriber { queue: queue.clone(), rules };
            routes.topics.entry(topic).or_default().push(subscriber);
        }
        routes.neighbours = neighbours(connection, this)?;
        Ok(routes)
    }

    pub(crate) fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// The queue with this id, if it is a [particular](Queue::is_particular) one.
    pub(crate) fn particular(&self, queue: i64) -> Option<&Arc<Queue>> {
        self.particular.get(&queue)
    }

    /// Where a message goes; `None` if the queue that it names was not declared.
    pub(crate) fn legs(&self, to: &Destination, envelope: &Envelope) -> Option<Legs> {
        let leg = |queue: &Queue| Leg {
            queue: queue.id,
            rank: queue.rank(envelope),
            is_particular: queue.is_particular(),
        };
        match to {
            Destination::Queue(queue) => Some(vec![leg(self.queues.get(queue.name().as_str())?)]),
            Destination::Topic { name, subject } => {
                let facts = Facts::new(subject, &envelope.headers, &envelope.body);
                let subscribers = self.topics.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let matching = subscribers.iter().filter(|subscriber| {
                    let rules = subscriber.rules.as_ref();
                    rules.is_none_or(|rules| rules.matches(subject, &facts))
                });
                Some(matching.map(|subscriber| leg(&subscriber.queue)).collect())
            }
            // Who waited there may be gone.
            Destination::Address(address) => Some(
                self.queues.get(address.as_str()).map(|queue| leg(queue)).into_iter().collect(),
            ),
            Destination::Foreign { .. } => None,
        }
    }
}

fn neighbours(connection: &Connection, this: &Member) -> rusqlite::Result<Vec<Neighbour>> {
    let mut neighbours: Vec<Neighbour> = Vec::new();
    let mut consumers = connection.prepare(
        "SELECT p.port, c.queue FROM tramline_process p JOIN tramline_consumer c
         ON c.process = p.id WHERE p.port IS NOT NULL AND p.port IS NOT ?1 ORDER BY p.port",
    )?;
    let mut rows = consumers.query([this.port])?;
    while let Some(row) = rows.next()? {
        let (port, queue) = (row.get(0)?, row.get(1)?);
        match neighbours.last_mut() {
            Some(last) if last.port == port => last.queues.push(queue),
            _ => neighbours.push(Neighbour { port, queues: vec![queue] }),
        }
    }
    Ok(neighbours)
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let text = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, text, Box::new(error))
    })
}
