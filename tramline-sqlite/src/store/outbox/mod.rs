//! Messages that a relay sends elsewhere.

mod aside;
mod claim;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod outbox;
mod stored;

pub(crate) use claim::take_back;
pub(super) use stored::append;
