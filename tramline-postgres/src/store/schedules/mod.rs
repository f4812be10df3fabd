//! Messages that leave at a moment unless they are cancelled, and moments that come again.

mod changes;
mod look;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod schedules;

pub(super) use changes::Changes;
