//! The store: typed tables, inbox and outbox beside the queues, under the same lock.
//!
//! A table is named by the type of its values, and a value by a key. Values are anything that can
//! be cloned: what is read is a copy, and nothing outside can change what is stored.
//!
//! ```
//! use tramline_memory::Memory;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #[derive(Clone, Debug, PartialEq)]
//! struct Balance(i64);
//!
//! let memory = Memory::new();
//! memory.write(|db| { db.put("alice", Balance(7)); Ok(()) }).await?;
//! assert_eq!(memory.read(|db| db.get("alice")).await, Some(Balance(7)));
//! # Ok(())
//! # }
//! ```

mod db;
mod inbox;
mod outbox;
mod schedules;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod store;
mod tables;
mod tx;
mod unit;
mod writer;

pub use db::Db;
pub use tx::MemoryTx;
pub use writer::MemoryWriter;

pub(crate) use inbox::Inbox;
pub(crate) use outbox::OutboxRows;
pub(crate) use schedules::ScheduleRows;
pub(crate) use tables::Tables;
