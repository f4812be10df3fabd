//! Messages that a relay sends elsewhere.

mod asking;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod outbox;
mod rest;
mod stored;

pub(super) use self::outbox::CLAIM_BYTES_MAX;
pub(crate) use asking::Unknown;
pub(crate) use rest::Rest;
