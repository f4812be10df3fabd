//! Messages that a relay sends elsewhere.

mod aside;
mod claim;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod outbox;
mod stored;

pub(crate) use claim::take_back;
#[cfg(feature = "sqlx")]
pub(super) use stored::Written;
pub(super) use stored::append;
