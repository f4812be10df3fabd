//! What SQLite promises beyond the contracts.

mod faults;
mod file_systems;
mod futures;
mod groups;
mod kit;
mod limits;
mod migrating;
mod nameless;
mod opening;
mod order;
mod outbox;
mod processes;
mod unreadable;
mod wishes;
