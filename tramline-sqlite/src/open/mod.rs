//! Opening a file: its connections, and the one writer that each file has in a process.

pub(crate) mod busy;
pub(crate) mod connection;
pub(crate) mod core;
pub(crate) mod file_system;
pub(crate) mod registry;
pub(crate) mod session;
