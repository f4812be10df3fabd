//! What SQLite promises beyond the contracts.

mod children;
mod disk;
mod faults;
mod file_systems;
mod futures;
mod groups;
mod kit;
mod limits;
mod log;
mod migrating;
mod nameless;
mod opening;
mod order;
mod outbox;
mod processes;
mod shrinking;
mod temporary;
mod unreadable;
mod walks;
mod wishes;
