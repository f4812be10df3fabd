//! Whatever stands in a row is read or refused, and what was read is written and read again as it
//! was: envelopes with their headers, histories and dead letters, and what is kept of a topology.

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::time::Duration;
use tramline::Retry;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{DeathRecord, FailureNote, History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::filter::{Facts, Filter};
use tramline_core::headers::{HeaderValue, Headers};
use tramline_core::id::MessageId;
use tramline_core::name::QueueRef;
use tramline_core::settlement::Marks;
use tramline_core::topology::{CompiledRules, QueueSpec, Rule, Subscription};
use tramline_core::wire::{Native, Record, read, write};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(envelope) = stored::<Envelope>(text) {
        envelope.header_bytes();
        let headers = write(&envelope, &Record::default(), &Native::default());
        read(Native::default(), headers, envelope.body);
    }
    stored::<Headers>(text);
    stored::<HeaderValue>(text);
    stored::<DeathRecord>(text);
    stored::<Marks>(text);
    stored::<MessageId>(text);
    stored::<QueueRef>(text);
    stored::<QueueSpec>(text);
    stored::<Reason>(text);
    stored::<Timestamp>(text);
    if let Some(history) = stored::<History>(text) {
        check_pushing(history);
    }
    let subscription = stored::<Subscription>(text).map(|subscription| subscription.rules);
    if let Some(rules) = stored::<Vec<Rule>>(text).or(subscription) {
        let headers = Headers::new();
        let facts = Facts::new("orders.placed", &headers, b"{}");
        let _ = CompiledRules::compile(&rules).map(|rules| rules.matches("orders.placed", &facts));
    }
    if let Some(filter) = stored::<Filter>(text) {
        let _ = (filter.to_string(), filter.names(), filter.compile());
    }
    if let Some(retry) = stored::<Retry>(text) {
        check_pauses(&retry);
    }
}

/// What `text` holds, if it can be read.
fn stored<T: Debug + DeserializeOwned + PartialEq + Serialize>(text: &str) -> Option<T> {
    let read = serde_json::from_str::<T>(text).ok()?;
    let written = serde_json::to_string(&read).expect("what was read can be written");
    let again = serde_json::from_str::<T>(&written).expect("what was written can be read");
    assert_eq!(again, read, "{written}");
    Some(read)
}

/// However long the history that was stored is, the next failure brings it back into its bounds.
fn check_pushing(mut history: History) {
    let at = Timestamp::from_millis(0);
    history.push(FailureNote { at, failure: u32::MAX, error: "next".to_owned() });
    let bytes: usize = history.notes().iter().map(|note| note.error.len()).sum();
    assert!(bytes <= History::BYTES_MAX, "{bytes} bytes");
    assert_eq!(history.notes().last().map(|note| note.error.as_str()), Some("next"));
}

fn check_pauses(retry: &Retry) {
    let (longest, total) = (retry.pause_max(), retry.pauses_total());
    let pauses = (1..50).map_while(|failures| retry.pause(failures, 0.75));
    let mut sum = Duration::ZERO;
    for pause in pauses {
        assert!(pause <= longest, "{pause:?} of {longest:?}: {retry:?}");
        sum = sum.saturating_add(pause);
    }
    assert!(sum <= total, "{sum:?} of {total:?}: {retry:?}");
    retry.pause(u32::MAX, f64::NAN);
}
