//! What SQLite promises beyond the contracts.

mod futures;
mod groups;
mod kit;
mod limits;
mod opening;
mod processes;
