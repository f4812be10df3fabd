//! What a delayed message meets on its way. All of it is durable and stays for ever: a stage that
//! expired would take its messages with it.

use super::hops::{Hop, HopTo, Target, exchange_after, queue_of};
use super::plan::Stage;
use crate::declare::step::{Binding, ExchangeForm, Step};
use crate::declare::{QueueForm, quorum};
use crate::names::{DELAY, DUE, UNDELIVERABLE, VOID};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// Where delayed messages begin, where they end, and where they go if their end is gone.
pub(crate) fn shared_steps() -> Vec<Step> {
    let [exchange, queue, binding] = undeliverable();
    // Without an alternate: a message that finds no stage comes back to its sender.
    let entry = Step::durable(DELAY.into(), ExchangeKind::Headers);
    vec![exchange, queue, binding, due_exchange(), entry]
}

/// Where messages go that nothing was there for when they were due: an exchange, a queue, and what
/// binds them.
pub(crate) fn undeliverable() -> [Step; 3] {
    let exchange = Step::durable(UNDELIVERABLE.into(), ExchangeKind::Fanout);
    let queue = Step::Queue(quorum(UNDELIVERABLE.into()));
    [exchange, queue, Step::Bind(binding(UNDELIVERABLE, UNDELIVERABLE, FieldTable::default()))]
}

/// Leads messages that are due to their queues.
pub(crate) fn due_exchange() -> Step {
    exchange(DUE, ExchangeKind::Direct)
}

/// Leads messages that are due for `queue` to it.
pub(crate) fn bind_due(queue: &ShortString) -> Step {
    let (from, to, key) = (DUE.into(), queue.clone(), queue.clone());
    Step::Bind(Binding { from, to, key, arguments: FieldTable::default() })
}

/// What `hop` needs: where it leads, and the binding that understands its header.
pub(crate) fn steps(hop: &Hop) -> Vec<Step> {
    let matching = table([text("x-match", "all"), text(&hop.header, &hop.value)]);
    match &hop.to {
        HopTo::Stage(stage) => {
            let to = queue_of(*stage);
            let (after, queue) = (exchange_after(*stage), stage_queue(*stage));
            let binding = binding(&hop.from, &to, matching);
            vec![exchange(&after, ExchangeKind::Headers), queue, Step::Bind(binding)]
        }
        HopTo::Target(Target::Queue) => vec![Step::BindExchange(binding(&hop.from, DUE, matching))],
        HopTo::Target(Target::Exchange(exchange)) => {
            // A stage keeps what it cannot get rid of: an event without subscribers would stay in it
            // for ever.
            let void = Step::Bind(binding(&hop.from, VOID, matching.clone()));
            let ends = Step::BindExchange(binding(&hop.from, exchange, matching));
            vec![void_queue(), void, ends]
        }
    }
}

fn stage_queue(stage: Stage) -> Step {
    let mut form = quorum(queue_of(stage).into());
    form.put("x-message-ttl", AMQPValue::LongLongInt(stage.millis().into()));
    form.put("x-dead-letter-exchange", AMQPValue::LongString(exchange_after(stage).into()));
    form.put("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into()));
    // What the strategy asks for.
    form.put("x-overflow", AMQPValue::LongString("reject-publish".into()));
    Step::Queue(form)
}

fn void_queue() -> Step {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    // With no time to live the broker confirms and forgets at once. With no length it would store first:
    // every delayed event comes here, and a stage waits for the confirm.
    let arguments = table([("x-message-ttl".to_owned(), AMQPValue::LongLongInt(0))]);
    Step::Queue(QueueForm { name: VOID.into(), options, arguments })
}

/// A durable exchange that gives what it has no way for to the undeliverable.
fn exchange(name: &str, kind: ExchangeKind) -> Step {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let arguments = table([text("alternate-exchange", UNDELIVERABLE)]);
    Step::Exchange(ExchangeForm { name: name.into(), kind, options, arguments })
}

fn binding(from: &str, to: &str, arguments: FieldTable) -> Binding {
    Binding { from: from.into(), to: to.into(), key: ShortString::default(), arguments }
}

fn table(pairs: impl IntoIterator<Item = (String, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn text(name: &str, value: &str) -> (String, AMQPValue) {
    (name.to_owned(), AMQPValue::LongString(value.into()))
}
