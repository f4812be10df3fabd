//! Transactions of handlers: their writes, inbox, outbox and ack.

mod appending;
mod commit;
mod conclude;
mod conditions;
mod failure;
mod group;
mod inbox;
mod messages;
mod outbox;
mod pool;
mod queued;
mod schedules;
mod steps;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod store;
mod tx;
mod watch;
mod writer;

pub use appending::TransactionOutbox;
pub(crate) use group::Grouping;
pub(crate) use outbox::{Rest, Unknown};
pub(crate) use pool::Pool;
pub use queued::{Parameter, Parameters};
pub use tx::PostgresTx;
pub(crate) use watch::Watch;
pub use writer::PostgresWriter;
