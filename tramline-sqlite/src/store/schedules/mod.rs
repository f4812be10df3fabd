//! Schedules: messages that leave at a moment, and moments that come again.

mod look;
mod plan;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod schedules;

pub(super) use plan::{advance, carry_out, fire};
