//! The engine on a real file, and in several processes.

mod migrating;
mod requests_killed;
