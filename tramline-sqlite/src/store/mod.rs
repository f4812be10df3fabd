//! Transactions of handlers: their writes, inbox, outbox and ack.

mod db;
mod failure;
mod inbox;
pub(crate) mod outbox;
pub(crate) mod readers;
mod snapshot;
mod statements;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod store;
mod tx;
mod unit;
mod write;

pub use db::Db;
pub use snapshot::Snapshot;
pub use tx::SqliteTx;
pub use write::SqliteWriter;
