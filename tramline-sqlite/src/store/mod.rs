//! Transactions of handlers: their writes, inbox, outbox and ack; and schedules.

#[cfg(feature = "sqlx")]
mod appending;
mod db;
mod failure;
mod inbox;
pub(crate) mod outbox;
pub(crate) mod readers;
mod schedules;
mod snapshot;
mod statements;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod store;
mod tx;
mod unit;
mod write;

#[cfg(feature = "sqlx")]
pub use appending::TransactionOutbox;
pub use db::Db;
pub use snapshot::Snapshot;
pub use tx::SqliteTx;
pub use write::SqliteWriter;
