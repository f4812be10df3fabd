//! However much went wrong, what is recorded about it stays small.

use super::samples::{full_record, note};
use crate::clock::Timestamp;
use crate::dead::{History, Reason};
use crate::envelope::Envelope;
use crate::headers::Headers;
use crate::name::QueueName;
use crate::settlement::Marks;
use crate::wire::{Death, Native, RECORD_BYTES_MAX, Record, names, read, untyped, write};
use bytes::Bytes;

const ERRORS_BYTES_MAX: usize = 8 * 1024;

fn written(history: History) -> Headers {
    let record = Record { history, ..Record::default() };
    write(&Envelope::default(), &record, &Native::default())
}

fn history(errors: impl IntoIterator<Item = String>) -> History {
    let mut history = History::new();
    for (error, failure) in errors.into_iter().zip(1..) {
        history.push(note(1_700_000_000_000, failure, &error));
    }
    history
}

#[test]
fn of_many_failures_the_last_are_written() {
    for error in ["", "timeout", &"e".repeat(1000), &"\u{1}".repeat(900)] {
        let long = history(std::iter::repeat_n(error.to_owned(), 3000));
        let headers = written(long.clone());
        let bytes = headers.text(names::ERRORS).unwrap().len();
        assert!(bytes <= ERRORS_BYTES_MAX, "{bytes} bytes of {error:?}");

        let kept = read(Native::default(), headers, Bytes::new()).record.history;
        let count = kept.notes().len();
        assert!(count > 0 && bytes > ERRORS_BYTES_MAX / 3, "{count} of {error:?}");
        assert!(long.notes().ends_with(kept.notes()), "the last {count} of {error:?}");
    }
}

#[test]
fn a_last_failure_that_does_not_fit_is_cut_and_not_dropped() {
    let headers = written(history(["first".to_owned(), "\u{1}".repeat(4096)]));
    assert!(headers.text(names::ERRORS).unwrap().len() <= ERRORS_BYTES_MAX);
    let kept = read(Native::default(), headers, Bytes::new()).record.history;
    let last = kept.notes().last().unwrap();
    assert_eq!(last.failure, 2);
    assert!(last.error.starts_with("\u{1}\u{1}") && last.error.ends_with('…'));
}

#[test]
fn the_largest_record_takes_no_more_than_it_promises() {
    let far = Timestamp::from_micros(i64::MIN);
    let errors = (0..3000).map(|length| "\u{1}\"e".repeat(length % 50));
    let record = Record {
        failures: u32::MAX,
        history: history(errors),
        marks: Marks { trials: u32::MAX, unhandled_since: Some(far) },
        origin: Some(QueueName::foreign("q".repeat(260))),
        death: Some(Death {
            reason: Reason::Other("r".repeat(100_000)),
            first_failed_at: Some(far),
            failed_at: far,
        }),
    };
    let headers = write(&Envelope::default(), &record, &Native::default());
    assert!(headers.size() <= RECORD_BYTES_MAX, "{}", headers.size());
    assert!(headers.len() >= full_record_headers(), "every header counts");
    let pairs = untyped(&headers);
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= RECORD_BYTES_MAX, "{bytes} as bytes");
}

fn full_record_headers() -> usize {
    write(&Envelope::default(), &full_record(), &Native::default()).len()
}

#[test]
fn errors_of_others_are_bounded_when_they_are_read() {
    let one = r#"{"at":0,"failure":1,"error":"e"}"#;
    let many = format!("[{}]", vec![one; 100_000].join(","));
    let headers = Headers::from_iter([(names::ERRORS, many)]);
    let received = read(Native::default(), headers, Bytes::new());
    assert_eq!((received.record, received.complaints.len()), (Record::default(), 1));

    let long = format!(r#"[{{"at":0,"failure":1,"error":"{}"}}]"#, "e".repeat(50_000));
    let headers = Headers::from_iter([(names::ERRORS, long)]);
    let kept = read(Native::default(), headers, Bytes::new()).record.history;
    assert_eq!(kept.notes()[0].error.len(), 4096);
}
