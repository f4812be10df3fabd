//! A database is opened.

mod core;
mod outdated;
mod pooler;
mod session;

pub(crate) use self::core::{Core, OUTBOX, SCHEDULES};
pub(crate) use session::Session;
