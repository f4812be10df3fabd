//! The names of our headers.

use crate::compose::RESERVED_PREFIX;

/// The message's id.
pub const ID: &str = "tramline_id";
/// The message's name, [`crate::Message::NAME`].
pub const MESSAGE: &str = "tramline_message";
/// The version of the body's layout.
pub const VERSION: &str = "tramline_version";
/// The media type of the body.
pub const CONTENT_TYPE: &str = "tramline_content_type";
/// When the sender made the message.
pub const SENT_AT: &str = "tramline_sent_at";
/// The business operation.
pub const CORRELATION_ID: &str = "tramline_correlation_id";
/// The message whose handler sent this one.
pub const CAUSATION_ID: &str = "tramline_causation_id";
/// The first message of the chain of causes.
pub const CONVERSATION_ID: &str = "tramline_conversation_id";
/// Where an answer goes.
pub const REPLY_TO: &str = "tramline_reply_to";
/// What the message stays in order with.
pub const KEY: &str = "tramline_key";
/// The sender's own key against doing the same thing twice.
pub const IDEMPOTENCY_KEY: &str = "tramline_idempotency_key";
/// When the message loses its meaning.
pub const EXPIRES_AT: &str = "tramline_expires_at";
/// Larger is sooner.
pub const PRIORITY: &str = "tramline_priority";
/// The topic that the message goes through.
pub const TOPIC: &str = "tramline_topic";
/// What subject filters look at.
pub const SUBJECT: &str = "tramline_subject";
/// The W3C trace context: a name of the whole field's, not reserved.
pub const TRACEPARENT: &str = "traceparent";
/// How often handling failed.
pub const FAILURES: &str = "tramline_failures";
/// The same figure under the name that the field is used to, for the eyes of others.
pub const RETRY_COUNT: &str = "x-retry-count";
/// How often it was handled alone.
pub const TRIALS: &str = "tramline_trials";
/// Since when nobody has known its type.
pub const UNHANDLED_SINCE: &str = "tramline_unhandled_since";
/// The queue in which it failed.
pub const ORIGIN: &str = "tramline_origin";
/// Its last failures.
pub const ERRORS: &str = "tramline_errors";
/// Why it is dead.
pub const DEAD_REASON: &str = "tramline_dead_reason";
/// When handling it failed first.
pub const FIRST_FAILED_AT: &str = "tramline_first_failed_at";
/// When it died.
pub const FAILED_AT: &str = "tramline_failed_at";
/// The types of the headers, where headers have none.
pub const TYPES: &str = "tramline_types";

/// The reserved names that this version knows. Those of a newer one pass through untouched, so that
/// an older process does not strip what it forwards.
pub(super) const RESERVED: [&str; 24] = [
    ID,
    MESSAGE,
    VERSION,
    CONTENT_TYPE,
    SENT_AT,
    CORRELATION_ID,
    CAUSATION_ID,
    CONVERSATION_ID,
    REPLY_TO,
    KEY,
    IDEMPOTENCY_KEY,
    EXPIRES_AT,
    PRIORITY,
    TOPIC,
    SUBJECT,
    FAILURES,
    TRIALS,
    UNHANDLED_SINCE,
    ORIGIN,
    ERRORS,
    DEAD_REASON,
    FIRST_FAILED_AT,
    FAILED_AT,
    TYPES,
];

/// Whether only the bus may write a header of this name.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX) && RESERVED.contains(&name)
}
