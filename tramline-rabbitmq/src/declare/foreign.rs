//! Exchanges and bindings by the names that others gave them.

use super::form::table;
use super::step::{Binding as BindingForm, ExchangeForm, Step};
use crate::names::{Names, short};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use std::collections::BTreeMap;
use tramline_core::headers::HeaderValue;
use tramline_core::name::QueueName;
use tramline_core::{Error, ErrorKind, Result};

/// An exchange by its name on the broker, to be [declared](crate::RabbitMq::exchange) as it is said
/// here, or only looked for.
///
/// ```
/// use tramline_rabbitmq::Exchange;
///
/// let audit = Exchange::headers("legacy.audit").argument("alternate-exchange", "legacy.rest");
/// let invoices = Exchange::existing("Invoices");
/// # drop((audit, invoices));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an exchange is declared when it was given to a `RabbitMq`"]
pub struct Exchange {
    name: String,
    /// `None`: it is there already.
    kind: Option<ExchangeKind>,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: BTreeMap<String, HeaderValue>,
}

impl Exchange {
    /// One that gives a message to the queues that are bound by exactly its routing key.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::of(name, Some(ExchangeKind::Direct))
    }

    /// One that gives every message to all queues that are bound.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::of(name, Some(ExchangeKind::Fanout))
    }

    /// One that compares the words of routing keys with patterns: `*` is one word, `#` any number.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::of(name, Some(ExchangeKind::Topic))
    }

    /// One that compares headers, as a binding's arguments with `x-match` say.
    pub fn headers(name: impl Into<String>) -> Self {
        Self::of(name, Some(ExchangeKind::Headers))
    }

    /// One of a kind that a plugin of the broker adds, such as `x-consistent-hash`.
    pub fn of_kind(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self::of(name, Some(ExchangeKind::Custom(kind.into())))
    }

    /// One that others have declared: it is looked for, and nothing about it is changed. A topic of
    /// this name is not declared either.
    pub fn existing(name: impl Into<String>) -> Self {
        Self::of(name, None)
    }

    fn of(name: impl Into<String>, kind: Option<ExchangeKind>) -> Self {
        Self {
            name: name.into(),
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: BTreeMap::new(),
        }
    }

    /// Whether it survives the broker's restart; it does if not said.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether it is gone with its last binding; it is not if not said.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Whether only other exchanges can send to it; everybody can if not said.
    pub fn internal(mut self, internal: bool) -> Self {
        self.internal = internal;
        self
    }

    /// A further argument, such as `alternate-exchange`.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<HeaderValue>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn step(&self) -> Result<Step> {
        let options = ExchangeDeclareOptions {
            passive: self.kind.is_none(),
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            ..ExchangeDeclareOptions::default()
        };
        Ok(Step::Exchange(ExchangeForm {
            name: short("exchange", &self.name)?,
            kind: self.kind.clone().unwrap_or_default(),
            options,
            arguments: table(&self.arguments)?,
        }))
    }
}

/// What an exchange is sent goes on to a queue or to another exchange.
///
/// ```
/// use tramline_rabbitmq::Binding;
///
/// let gold = Binding::queue("billing")
///     .from("legacy.events")
///     .argument("x-match", "all")
///     .argument("tier", "gold");
/// let copies = Binding::exchange("legacy.audit").from("legacy.events").key("#");
/// # drop((gold, copies));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a binding is made when it was given to a `RabbitMq`"]
pub struct Binding {
    to: End,
    from: Option<String>,
    key: String,
    arguments: BTreeMap<String, HeaderValue>,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    Queue(QueueName),
    Exchange(String),
}

impl Binding {
    /// To a queue: an endpoint's, or any that is there.
    pub fn queue(name: impl AsRef<str>) -> Self {
        Self::to(End::Queue(QueueName::foreign(name)))
    }

    /// To an exchange.
    pub fn exchange(name: impl Into<String>) -> Self {
        Self::to(End::Exchange(name.into()))
    }

    fn to(to: End) -> Self {
        Self { to, from: None, key: String::new(), arguments: BTreeMap::new() }
    }

    /// From this exchange. Every binding needs one.
    pub fn from(mut self, exchange: impl Into<String>) -> Self {
        self.from = Some(exchange.into());
        self
    }

    /// With this routing key, or pattern; the empty one if not said.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// With an argument: for a headers exchange `x-match` and what it compares.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<HeaderValue>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    pub(super) fn step(&self, names: &Names) -> Result<Step> {
        let to = match &self.to {
            End::Queue(name) => names.queue(name)?,
            End::Exchange(name) => short("exchange", name)?,
        };
        let Some(from) = &self.from else {
            return Err(Error::new(ErrorKind::Misconfigured, format!("bind {to}"))
                .because("the binding does not say from which exchange: add `.from(…)`"));
        };
        let key = short("routing key", &self.key)?;
        let arguments = table(&self.arguments)?;
        let binding = BindingForm { from: short("exchange", from)?, to, key, arguments };
        Ok(match self.to {
            End::Queue(_) => Step::Bind(binding),
            End::Exchange(_) => Step::BindExchange(binding),
        })
    }
}

/// What a user has named: exchanges first, then what is bound to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreign {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) bindings: Vec<Binding>,
}

impl Foreign {
    /// Whether the exchange is the user's own affair.
    pub(super) fn has(&self, exchange: &str) -> bool {
        self.exchanges.iter().any(|known| known.name() == exchange)
    }
}
