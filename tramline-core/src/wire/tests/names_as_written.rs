//! The names and forms on the wire. They are a contract with messages already in queues and with
//! clients in other languages: a change here needs a reader for both.

use super::samples::{all_native, full_envelope, full_record};
use crate::envelope::Envelope;
use crate::headers::{HeaderValue, Headers};
use crate::wire::{Native, Record, names, write};

#[test]
fn with_nothing_native_everything_is_in_headers() {
    let headers = write(&full_envelope(), &full_record(), &Native::default());
    let text = HeaderValue::from;
    let errors = concat!(
        r#"[{"at":1700000001000,"failure":1,"error":"timeout"},"#,
        r#"{"at":1700000002000,"failure":2,"error":"\"no\" \u0001"}]"#,
    );
    let expected = Headers::from_iter([
        ("region", text("eu")),
        ("traceparent", text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        ("tramline_causation_id", text("cause")),
        ("tramline_content_type", text("application/json")),
        ("tramline_conversation_id", text("first-cause")),
        ("tramline_correlation_id", text("order 7")),
        ("tramline_dead_reason", text("exhausted")),
        ("tramline_errors", text(errors)),
        ("tramline_expires_at", HeaderValue::Int(1_700_000_060_001)),
        ("tramline_failed_at", HeaderValue::Int(1_700_000_003_000)),
        ("tramline_failures", HeaderValue::Int(2)),
        ("tramline_first_failed_at", HeaderValue::Int(1_700_000_001_000)),
        ("tramline_id", text("01890a5d-ac96-774b-bcce-b302099a8057")),
        ("tramline_idempotency_key", text("charge 42, once")),
        ("tramline_key", text("customer-42")),
        ("tramline_message", text("orders.placed")),
        ("tramline_origin", text("payment")),
        ("tramline_priority", HeaderValue::Int(4)),
        ("tramline_reply_to", text("answers")),
        ("tramline_sent_at", HeaderValue::Int(1_700_000_000_001)),
        ("tramline_subject", text("orders.placed")),
        ("tramline_topic", text("orders")),
        ("tramline_trials", HeaderValue::Int(1)),
        ("tramline_unhandled_since", HeaderValue::Int(1_700_000_000_500)),
        ("tramline_version", HeaderValue::Int(2)),
        ("x-retry-count", HeaderValue::Int(2)),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn with_everything_native_only_what_no_broker_knows_is_in_headers() {
    let envelope = full_envelope();
    let headers = write(&envelope, &Record::default(), &all_native(&envelope));
    let written: Vec<&str> = headers.iter().map(|(name, _)| name).collect();
    let expected = [
        "region",
        names::TRACEPARENT,
        names::CAUSATION_ID,
        names::CONVERSATION_ID,
        names::IDEMPOTENCY_KEY,
        names::VERSION,
    ];
    assert_eq!(written, expected);
}

/// A handler may pass on headers that it was given elsewhere, an HTTP request's for instance.
#[test]
fn a_user_cannot_write_our_headers() {
    let headers = Headers::from_iter([
        ("tramline_failures", "9"),
        ("tramline_key", "forged"),
        ("tramline_types", "{}"),
        ("tramline_of_a_newer_version", "kept"),
        ("own", "kept"),
    ]);
    let envelope = Envelope { headers, ..Envelope::default() };
    let written = write(&envelope, &Record::default(), &Native::default());
    let kept = [("own", "kept"), ("tramline_of_a_newer_version", "kept")];
    assert_eq!(written, Headers::from_iter(kept));
}
