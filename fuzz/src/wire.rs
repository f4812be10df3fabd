//! Whatever headers a broker delivers are read, and what is written is read back.
//!
//! The input is lines `kind name value` of headers, or of `native` properties; after an empty line
//! comes the body.

use crate::lines::{self, Line};
use tramline_core::clock::Timestamp;
use tramline_core::dead::{History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::headers::Headers;
use tramline_core::name::TopicName;
use tramline_core::wire::{
    Native, RECORD_BYTES_MAX, Received, Record, read, typed, untyped, write,
};

const ORIGIN_BYTES_MAX: usize = 260;

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    let read_plain = |headers: Headers| read(Native::default(), headers, body.clone());

    let received = read(native(head), lines::headers(head), body.clone());
    check_complaints(&received);
    check_size(&received.record);

    let written = write(&received.envelope, &received.record, &Native::default());
    let again = read_plain(written.clone());
    let expected = as_written(&received);
    assert_eq!(again.envelope, expected.envelope);
    let kept = again.record.history.notes();
    assert!(received.record.history.notes().ends_with(kept) || kept.len() == 1);
    assert_eq!(Record { history: History::new(), ..again.record.clone() }, expected.record);

    // What was written once stays as it is, also where headers are bytes.
    let rewritten = write(&again.envelope, &again.record, &Native::default());
    assert_eq!(rewritten, written);
    assert_eq!(read_plain(typed(untyped(&written))), again);

    // A foreign sender's bytes, with types that need not fit.
    let foreign = lines::lines(head).map(|Line { kind, name, value }| match kind {
        "bytes" => (name.to_owned(), lines::bytes(value)),
        _ => (name.to_owned(), bytes::Bytes::copy_from_slice(value.as_bytes())),
    });
    check_complaints(&read_plain(typed(foreign)));
}

fn native(head: &str) -> Native {
    let mut native = Native::default();
    for Line { name, value, .. } in lines::lines(head).filter(|line| line.kind == "native") {
        let text = || Some(value.to_owned());
        let time = || value.parse().ok().map(Timestamp::from_micros);
        match name {
            "id" => native.id = text(),
            "name" => native.name = text(),
            "content_type" => native.content_type = text(),
            "sent_at" => native.sent_at = time(),
            "correlation_id" => native.correlation_id = text(),
            "reply_to" => native.reply_to = text(),
            "key" => native.key = text(),
            "expires_at" => native.expires_at = time(),
            "priority" => native.priority = value.parse().ok(),
            "topic" => native.topic = Some(TopicName::foreign(value)),
            "subject" => native.subject = text(),
            _ => {}
        }
    }
    native
}

/// A complaint goes into a log: it is a line, and not a long one.
fn check_complaints(received: &Received) {
    const BYTES_MAX: usize = 500;
    for complaint in &received.complaints {
        let line = complaint.to_string();
        assert!(line.len() <= BYTES_MAX && !line.contains('\n'), "{line:?}");
    }
}

fn check_size(record: &Record) {
    if record.origin.as_ref().is_none_or(|queue| queue.as_str().len() <= ORIGIN_BYTES_MAX) {
        let headers = write(&Envelope::default(), record, &Native::default());
        assert!(headers.size() <= RECORD_BYTES_MAX, "{} bytes", headers.size());
    }
}

/// What writing keeps: whole milliseconds, and of a long reason its beginning. The history is
/// compared apart.
fn as_written(received: &Received) -> Received {
    const REASON_BYTES_MAX: usize = 1024;
    let Received { mut envelope, mut record, complaints } = received.clone();
    record.history = History::new();
    let death = record.death.as_mut();
    if let Some(Reason::Other(reason)) = death.map(|death| &mut death.reason)
        && reason.len() > REASON_BYTES_MAX
    {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX - "…".len()));
        reason.push('…');
    }
    let death = record.death.as_mut().map(|death| {
        [Some(&mut death.failed_at), death.first_failed_at.as_mut()].into_iter().flatten()
    });
    let times = [
        envelope.sent_at.as_mut(),
        envelope.expires_at.as_mut(),
        record.marks.unhandled_since.as_mut(),
    ];
    for time in times.into_iter().flatten().chain(death.into_iter().flatten()) {
        *time = in_milliseconds(*time);
    }
    Received { envelope, record, complaints }
}

/// Rounded down, within the years 0000 to 9999.
fn in_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().clamp(-62_167_219_200_000, 253_402_300_799_999))
}
