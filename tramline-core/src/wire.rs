//! Metadata on any broker: what stands in native properties, what in headers, under which name.
//!
//! The body is the message and nothing else. A driver says which metadata its broker carries by
//! itself ([`Native`]); [`write()`] puts the rest into headers and [`read`] takes it out again. Pure
//! functions: nothing here does I/O.
//!
//! # Our headers
//!
//! Lower snake case, safe for SQL filters and JMS ([`names`]). Times are milliseconds since
//! 1970-01-01 UTC; a fraction of one is lost. Numbers are integers where the broker has typed
//! headers. Each is written only if there is something to say.
//!
//! | header | type | what |
//! | --- | --- | --- |
//! | `tramline_id` | text | the message's id |
//! | `tramline_message` | text | its name |
//! | `tramline_version` | int | the version of the body, above 1 |
//! | `tramline_content_type` | text | the media type of the body |
//! | `tramline_sent_at` | time | when the sender made it |
//! | `tramline_correlation_id` | text | the business operation |
//! | `tramline_causation_id` | text | the message whose handler sent this one |
//! | `tramline_conversation_id` | text | the first message of the chain of causes |
//! | `tramline_reply_to` | text | where an answer goes |
//! | `tramline_key` | text | what it stays in order with |
//! | `tramline_idempotency_key` | text | the sender's own key |
//! | `tramline_expires_at` | time | when it loses its meaning |
//! | `tramline_priority` | int | larger is sooner |
//! | `tramline_topic`, `tramline_subject` | text | the topic it goes through, and as what |
//! | `traceparent` | text | the W3C trace context, as it is |
//! | `tramline_failures`, `x-retry-count` | int | failures so far; see [`read`] |
//! | `tramline_trials` | int | how often it was handled alone, as a suspect |
//! | `tramline_unhandled_since` | time | since when nobody has known its type |
//! | `tramline_origin` | text | on copies: the queue in which it failed |
//! | `tramline_errors` | JSON | the last failures, at most 8 KiB: `[{"at", "failure", "error"}]` |
//! | `tramline_dead_reason` | text | on dead letters: why |
//! | `tramline_first_failed_at`, `tramline_failed_at` | time | on dead letters |
//! | `tramline_types` | JSON | where headers have no types: see [`untyped()`] |
//!
//! # Headers of others
//!
//! Where neither our header nor the native property is there, these are read as aliases. They stay
//! visible to handlers, and a message with less is accepted.
//!
//! **CloudEvents 1.0, binary mode**, with the prefixes of the Kafka binding (`ce_`) and of the AMQP
//! binding (`cloudEvents:`, since version 1.0.3 also `cloudEvents_`). `type` is the name, `time`
//! (RFC 3339, or a number of milliseconds) the time of sending, `partitionkey` the key;
//! `traceparent` is the fallback that its extension wants it to be. `id` is unique only within its
//! `source`, so the message id is both together, unless `id` is a UUID. `subject` is *not* what
//! subject filters look at: it names a thing (`photos/7.png`), not a kind of message. The media
//! type is the header `content-type`. Structured mode is a body of another format, for a
//! [`Codec`](crate::codec::Codec).
//!
//! **MassTransit, raw JSON** with `RawSerializerOptions.AddTransportHeaders` (`MessageHeaders.cs`
//! and `RawMessageSerializer.cs` in version 8 of `MassTransit/MassTransit`): `MessageId`,
//! `CorrelationId`, `ConversationId`, `Content-Type`, and `MT-MessageType`, the most specific of
//! whose URNs is the name without `urn:message:`. `MT-InitiatorId` is left alone: it holds the
//! *correlation* id of the cause, not its message id. So is `MT-Response-Address`: it is a URI that
//! only MassTransit resolves.

mod aliases;
mod errors;
pub mod names;
mod native;
mod read;
mod record;
mod rfc3339;
#[cfg(test)]
mod tests;
mod untyped;
mod value;
mod write;

pub use native::Native;
pub use read::{Complaint, Received, read};
pub use record::{Death, RECORD_BYTES_MAX, Record};
pub use untyped::{typed, untyped};
pub use write::{write, write_each};
