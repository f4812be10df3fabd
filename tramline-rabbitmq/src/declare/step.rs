//! One thing that is asked of the broker. Each is idempotent, so that all may be asked again.

use super::form::{QueueForm, table};
use super::topic_bindings::{Between, BetweenKind, TopicBinding};
use crate::names::short;
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use std::fmt;
use tramline_core::Result;
use tramline_core::name::TopicName;

/// One thing that is asked of the broker. Shown, it completes "failed to …".
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// There is such an exchange.
    Exchange(ExchangeForm),
    /// There is such a queue.
    Queue(QueueForm),
    /// A queue gets what an exchange is sent.
    Bind(Binding),
    /// It does not any more.
    Unbind(Binding),
    /// An exchange gets what another one is sent.
    BindExchange(Binding),
}

/// An exchange as it is declared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExchangeForm {
    pub(crate) name: ShortString,
    pub(crate) kind: ExchangeKind,
    /// With `passive`, it is only looked at.
    pub(crate) options: ExchangeDeclareOptions,
    pub(crate) arguments: FieldTable,
}

/// From an exchange to a queue or another exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) from: ShortString,
    pub(crate) to: ShortString,
    pub(crate) key: ShortString,
    pub(crate) arguments: FieldTable,
}

impl Step {
    /// Asks. The answer is the name of the queue, if it is about one.
    pub(crate) async fn ask(&self, channel: &Channel) -> lapin::Result<ShortString> {
        match self.clone() {
            Self::Exchange(ExchangeForm { name, kind, options, arguments }) => {
                channel.exchange_declare(name, kind, options, arguments).await?;
            }
            Self::Queue(QueueForm { name, options, arguments }) => {
                return Ok(channel.queue_declare(name, options, arguments).await?.name().clone());
            }
            Self::Bind(Binding { from, to, key, arguments }) => {
                let options = QueueBindOptions::default();
                channel.queue_bind(to, from, key, options, arguments).await?;
            }
            Self::Unbind(Binding { from, to, key, arguments }) => {
                channel.queue_unbind(to, from, key, arguments).await?;
            }
            Self::BindExchange(Binding { from, to, key, arguments }) => {
                let options = ExchangeBindOptions::default();
                channel.exchange_bind(to, from, key, options, arguments).await?;
            }
        }
        Ok(ShortString::default())
    }

    /// The exchange of `topic`.
    pub(crate) fn topic(topic: &TopicName) -> Result<Self> {
        Ok(Self::durable(short("topic", topic.as_str())?, ExchangeKind::Topic))
    }

    /// A durable exchange without arguments.
    pub(crate) fn durable(name: ShortString, kind: ExchangeKind) -> Self {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        Self::Exchange(ExchangeForm { name, kind, options, arguments: FieldTable::default() })
    }

    /// The exchange in between, and what leads to it.
    pub(super) fn between(topic: &TopicName, between: &Between) -> Result<[Self; 2]> {
        let name = short("exchange", &between.exchange)?;
        let bind = Binding {
            from: short("topic", topic.as_str())?,
            to: name.clone(),
            key: short("subject", &between.pattern)?,
            arguments: FieldTable::default(),
        };
        let kind = match between.kind {
            BetweenKind::Topic => ExchangeKind::Topic,
            BetweenKind::Headers => ExchangeKind::Headers,
        };
        Ok([Self::durable(name, kind), Self::BindExchange(bind)])
    }
}

impl Binding {
    /// `binding`, of the queue that the broker calls `queue`.
    pub(super) fn of(binding: &TopicBinding, queue: &ShortString) -> Result<Self> {
        Ok(Self {
            from: short("exchange", binding.exchange())?,
            to: queue.clone(),
            key: short("subject", &binding.key)?,
            arguments: table(&binding.arguments)?,
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(ExchangeForm { name, options, .. }) if options.passive => {
                write!(f, "use the exchange {name}, which is to be there already")
            }
            Self::Exchange(ExchangeForm { name, .. }) => write!(f, "declare the exchange {name}"),
            Self::Queue(QueueForm { name, options, .. }) if options.passive => {
                write!(f, "use the queue {name}, which is to be there already")
            }
            Self::Queue(QueueForm { name, .. }) if name.as_str().is_empty() => {
                write!(f, "declare a temporary queue")
            }
            Self::Queue(QueueForm { name, .. }) => write!(f, "declare queue {name}"),
            Self::Bind(binding) => write!(f, "bind queue {binding}"),
            Self::Unbind(binding) => write!(f, "unbind queue {binding}"),
            Self::BindExchange(binding) => write!(f, "bind exchange {binding}"),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, key, .. } = self;
        write!(f, "{to} to exchange {from} (key {:?})", key.as_str())
    }
}
