//! What SQLite promises beyond the contracts.

mod faults;
mod futures;
mod groups;
mod kit;
mod limits;
mod nameless;
mod opening;
mod order;
mod outbox;
mod processes;
