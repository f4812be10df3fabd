//! Messages that were not handled: who is told, and how they come back.

mod hooks;
mod redrive;

pub(crate) use hooks::Hooks;
pub use hooks::{DeadLetterReport, FailureReport};
pub use redrive::DeadLetters;
