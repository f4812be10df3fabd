//! Headers that are neither the user's nor the bus's.

/// What the broker has counted. Quorum queues only, from the second delivery on.
pub(crate) const DELIVERY_COUNT: &str = "x-delivery-count";

/// The queues in which the broker killed the message, the last one first.
pub(crate) const DEATHS: &str = "x-death";

/// What the names of the headers begin with that lead a message through stages of waiting.
pub(crate) const DELAY_PREFIX: &str = "tramline_delay";

/// Properties that messages of the bus have no field for: handlers see them as headers of these names,
/// and headers of these names travel as the properties, so that copies keep them.
pub(crate) const CONTENT_ENCODING: &str = "amqp_content_encoding";
pub(crate) const APP_ID: &str = "amqp_app_id";
pub(crate) const CLUSTER_ID: &str = "amqp_cluster_id";

/// Who sent it, which the broker has checked. Copies have it as a header only: the broker refuses a
/// property that is not the name of who sends the copy.
pub(crate) const USER_ID: &str = "amqp_user_id";

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
