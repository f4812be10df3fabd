//! The contract of a store: a handler's writes, the inbox, the outbox and the ack in one
//! transaction.

mod inbox;
mod outbox;
#[expect(clippy::module_inception, reason = "the contract itself, beside its two parts")]
mod store;

pub use inbox::{InboxKey, Sighting};
pub use outbox::{Outbox, OutboxRow, OutboxToken, ParkedRow};
pub use store::{CommitError, Committed, Condition, DatabaseId, Refusal, Store};
