//! Headers that are neither the user's nor the bus's.

/// What the broker has counted. Quorum queues only, from the second delivery on.
pub(crate) const DELIVERY_COUNT: &str = "x-delivery-count";

/// The queues in which the broker killed the message, the last one first.
pub(crate) const DEATHS: &str = "x-death";

/// What the names of the headers begin with that lead a message through stages of waiting.
pub(crate) const DELAY_PREFIX: &str = "tramline_delay";

/// What the names of the queues and exchanges begin with that this driver owns.
pub(crate) const OWN_PREFIX: &str = "tramline.";

/// Whether a header of this name belongs to the broker, or to the way that the message took.
///
/// They are not shown to handlers, and a copy must not carry them: the broker drops a message that
/// meets the same queue twice by its `x-death`, and sends one with `CC` to more queues.
pub(crate) fn is_brokers(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            matches!(name, DEATHS | DELIVERY_COUNT | "x-acquired-count")
                || name.starts_with("x-first-death-")
                || name.starts_with("x-last-death-")
        }
        Some(b't') => name.starts_with(DELAY_PREFIX),
        Some(b'C' | b'B') => matches!(name, "CC" | "BCC"),
        _ => false,
    }
}
