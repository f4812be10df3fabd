//! What a queue and its dead-letter queue look like on the broker. Pure.

use super::arguments::{Faults, QueueArguments, QueueKind, is_limited, queue_arguments};
use crate::names::{Names, short};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::time::Duration;
use tramline_core::Result;
use tramline_core::capabilities::Ordering;
use tramline_core::headers::HeaderValue;
use tramline_core::topology::QueueSpec;

/// After how many deliveries the broker gives up on a message, if not said: far behind the bus, which
/// handles a message alone that may have killed its process, and gives up on it itself.
const DELIVERY_LIMIT: u32 = 100;

/// For queues in which a message is looked at any number of times. Newer brokers would give up on it
/// after 20 looks if nothing were said.
const DELIVERIES_UNLIMITED: u32 = 1_000_000_000;

/// A queue and its dead-letter queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QueuePlan {
    pub(super) spec: QueueSpec,
    pub(super) main: Main,
    /// The dead-letter queue.
    pub(super) dead: QueueForm,
    /// It was named by choice, and is used as it is if it is there.
    pub(super) dead_is_chosen: bool,
}

/// The queue itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Main {
    /// Declared.
    Durable(QueueForm),
    /// Declared, and the broker chooses its name.
    Temporary(QueueForm),
    /// Used as it is.
    Joined(ShortString),
}

/// A queue as it is declared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QueueForm {
    pub(crate) name: ShortString,
    pub(crate) options: QueueDeclareOptions,
    pub(crate) arguments: FieldTable,
}

impl QueuePlan {
    /// What `spec` asks for. Its own name for dead letters, if there is one, is noted in `names`.
    ///
    /// # Errors
    /// Everything that speaks against it.
    pub(super) fn of(spec: &QueueSpec) -> Result<Self, Faults> {
        let arguments = queue_arguments(spec)?;
        let chosen = arguments
            .dead
            .map_or_else(|| Names::default().dead(&spec.name), |dead| short("queue", dead));
        let names = chosen.and_then(|dead| Ok((short("queue", spec.name.as_str())?, dead)));
        let (name, dead) = names
            .map_err(|error| Faults { wrong: vec![error.to_string()], ..Faults::default() })?;
        let main = match () {
            () if arguments.joined => Main::Joined(name),
            () if spec.temporary => Main::Temporary(main(spec, &arguments, "".into(), &dead)),
            () => Main::Durable(main(spec, &arguments, name, &dead)),
        };
        let dead_is_chosen = arguments.dead.is_some() && spec.keep_dead.is_none();
        Ok(Self { spec: spec.clone(), main, dead: for_dead(dead, spec.keep_dead), dead_is_chosen })
    }
}

fn main(
    spec: &QueueSpec,
    arguments: &QueueArguments<'_>,
    name: ShortString,
    dead: &ShortString,
) -> QueueForm {
    let said = |argument: &str| arguments.native.get(argument).and_then(HeaderValue::as_text);
    let mut table = Table::default();
    table.text("x-queue-type", arguments.kind.as_str());
    table.text("x-dead-letter-exchange", "");
    table.text("x-dead-letter-routing-key", dead.as_str());
    match arguments.kind {
        QueueKind::Quorum => {
            // At least once needs a queue that refuses, rather than drops, what is too much.
            if said("x-overflow").is_none_or(|overflow| overflow == "reject-publish") {
                table.text("x-overflow", "reject-publish");
                table.text("x-dead-letter-strategy", "at-least-once");
            }
            table.number("x-delivery-limit", spec.delivery_limit.unwrap_or(DELIVERY_LIMIT));
        }
        QueueKind::Classic if is_limited(spec) => table.text("x-overflow", "reject-publish"),
        QueueKind::Classic => {}
    }
    if spec.ordering != Ordering::None {
        table.put("x-single-active-consumer", AMQPValue::Boolean(true));
    }
    if let Some(length) = spec.length_max {
        table.number("x-max-length", length);
    }
    if let Some(priority) = spec.priority_max {
        table.number("x-max-priority", priority);
    }
    for (name, value) in &arguments.native {
        table.put(name, amqp(value));
    }
    let QueueArguments { durable, exclusive, auto_delete, .. } = *arguments;
    let options = QueueDeclareOptions { durable, exclusive, auto_delete, ..Default::default() };
    QueueForm { name, options, arguments: table.0 }
}

/// A queue for dead letters, which forgets them after `keep`.
fn for_dead(name: ShortString, keep: Option<Duration>) -> QueueForm {
    let mut form = quorum(name);
    if let Some(keep) = keep {
        let millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        form.put("x-message-ttl", number(millis));
    }
    form
}

/// A durable quorum queue whose messages may be looked at any number of times.
pub(crate) fn quorum(name: ShortString) -> QueueForm {
    let mut table = Table::default();
    table.text("x-queue-type", QueueKind::Quorum.as_str());
    table.number("x-delivery-limit", DELIVERIES_UNLIMITED);
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    QueueForm { name, options, arguments: table.0 }
}

impl QueueForm {
    pub(crate) fn put(&mut self, name: &'static str, value: AMQPValue) {
        self.arguments.insert(name.into(), value);
    }
}

#[derive(Default)]
struct Table(FieldTable);

impl Table {
    /// `name` is one of ours, or was checked to fit.
    fn put(&mut self, name: &str, value: AMQPValue) {
        self.0.insert(name.into(), value);
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.put(name, AMQPValue::LongString(text.into()));
    }

    fn number(&mut self, name: &'static str, value: impl Into<u64>) {
        self.put(name, number(value));
    }
}

fn number(value: impl Into<u64>) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value.into()).unwrap_or(i64::MAX))
}

/// A value as the protocol has it.
pub(super) fn amqp(value: &HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
        HeaderValue::Int(int) => AMQPValue::LongLongInt(*int),
        HeaderValue::Float(float) => AMQPValue::Double(*float),
        HeaderValue::Bool(truth) => AMQPValue::Boolean(*truth),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(bytes.to_vec().into()),
    }
}

/// A table of arguments.
///
/// # Errors
/// A name is longer than the protocol can say.
pub(super) fn table<'a>(
    pairs: impl IntoIterator<Item = (&'a String, &'a HeaderValue)>,
) -> Result<FieldTable> {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(short("argument", name)?, amqp(value));
    }
    Ok(table)
}
