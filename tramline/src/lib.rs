//! Tramline: the message bus for Rust services.
//!
//! Publish typed messages, handle them in background workers, and never lose one. The same
//! handlers run in memory, on a file, on PostgreSQL and on RabbitMQ; one URL decides.
//!
//! # The life of a message
//!
//! 1. [`Bus::publish`] or [`Bus::send`] makes an envelope of it and waits until the transport has
//!    it ([`publish`])
//! 2. inside of a handler, the [`Outbox`] or a store's transaction holds it until the handler has
//!    succeeded ([`outbox`])
//! 3. where the store is another database than the transport, a relay sends it on (`relay`)
//! 4. an endpoint takes it from its queue (`endpoint/receive`)
//! 5. and decides whether it is for this endpoint at all (`endpoint/admit`)
//! 6. the work on it begins (`endpoint/process`; `endpoint/gather` for batches)
//! 7. through the layers, the engine's and yours ([`pipeline`])
//! 8. to the handler, with what that asks for ([`handler`])
//! 9. how it ended decides what becomes of it, in a pure function (`endpoint/settlement`)
//! 10. which is then done (`endpoint/settle`)
//!
//! What an endpoint depends on is spared by [`breaker`]s, rates and limits for each key (`endpoint/protection`).
//!
//! Around it: requests that are answered ([`request`]), domain events inside this process ([`events`]), queues
//! inside it ([`background`]), messages that leave later unless they are cancelled, and again and
//! again ([`schedules`]), and what starts and stops all of a program ([`host`]).
//!
//! What was not handled is in the dead-letter queue: [`dead_letters`]. How often something is
//! tried says [`Retry`].

mod at_work;
pub mod background;
pub mod breaker;
mod bridge;
mod bus;
mod caught;
#[cfg(feature = "cron")]
mod cron;
pub mod dead_letters;
#[cfg(any(feature = "memory", feature = "postgres", feature = "rabbitmq", feature = "sqlite"))]
mod drivers;
mod endpoint;
pub mod events;
pub mod handler;
pub mod host;
pub mod outbox;
pub mod pipeline;
pub mod publish;
mod relay;
pub mod request;
mod retry;
pub mod schedules;
mod start;
mod stopping;
mod temporary;
#[cfg(feature = "testing")]
pub mod testing;
mod unit_of_work;
mod unrouted;

pub use background::BackgroundQueue;
pub use breaker::CircuitBreaker;
pub use bridge::Bridge;
pub use bus::{Bus, Drained};
pub use endpoint::{Endpoint, HeldTooLong, RateLimit};
pub use events::Events;
pub use handler::{Attempt, BatchOutcome, Cancel, Item, Scoped, State, Tx};
pub use outbox::Outbox;
pub use publish::Receipt;
pub use relay::{Unsent, UnsentDepth};
pub use retry::Retry;
pub use schedules::{CatchUp, Planner, Recurring};
pub use start::{BusBuilder, StartError};
pub use unit_of_work::UnitOfWork;

pub use tramline_core::capabilities::Ordering;
pub use tramline_core::draft::Draft;
pub use tramline_core::envelope::Envelope;
pub use tramline_core::filter::Filter;
pub use tramline_core::headers::{HeaderValue, Headers};
pub use tramline_core::id::MessageId;
pub use tramline_core::name::{QueueName, TopicName};
pub use tramline_core::topology::QueueSpec;
pub use tramline_core::{BoxFuture, Error, ErrorKind, Failure, Message, Result};

/// The words and contracts that drivers implement.
pub use tramline_core as core;

#[cfg(feature = "memory")]
pub use tramline_memory::{self as memory, Memory};
/// [`postgres::migrations`] is the SQL for those whose administrators run it.
#[cfg(feature = "postgres")]
pub use tramline_postgres::{self as postgres, Postgres};
#[cfg(feature = "rabbitmq")]
pub use tramline_rabbitmq::{self as rabbitmq, RabbitMq};
#[cfg(feature = "sqlite")]
pub use tramline_sqlite::{self as sqlite, Sqlite};

/// The README's example is compiled with the tests.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../README.md")]
mod readme {}

/// So is the page on RabbitMQ.
#[cfg(all(doctest, feature = "rabbitmq"))]
#[doc = include_str!("../../docs/rabbitmq.md")]
mod rabbitmq_page {}
