//! What SQLite promises beyond the contracts.

mod faults;
mod futures;
mod groups;
mod kit;
mod limits;
mod nameless;
mod opening;
mod outbox;
mod processes;
