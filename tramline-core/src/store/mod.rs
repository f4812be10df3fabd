//! The contract of a store: a handler's writes, the inbox, the outbox and the ack in one
//! transaction; and schedules.

mod inbox;
mod outbox;
mod schedules;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod store;

pub use inbox::{InboxKey, Sighting};
pub use outbox::{Outbox, OutboxRow, OutboxToken, ParkedRow};
pub use schedules::{
    Change, DueSchedule, Look, NAME_KEPT, Plan, Planned, RecurringRow, ScheduleKey, ScheduleState,
    Schedules, Waiting,
};
pub use store::{CommitError, Committed, Condition, DatabaseId, Refusal, Store};
