//! Messages that a relay sends elsewhere.

#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod outbox;
mod stored;
