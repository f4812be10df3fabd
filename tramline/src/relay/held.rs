//! Which rows of a batch wait, because of others before them.

use std::collections::HashMap;
use tramline_core::clock::Timestamp;
use tramline_core::store::{OutboxRow, OutboxToken};

/// What is held back in one batch.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Keys of which a row has failed, and until when it waits.
    keys: HashMap<String, Timestamp>,
    /// Rows to be given back, and until when they wait.
    pub(crate) back: Vec<(OutboxToken, Timestamp)>,
}

impl Held {
    /// Holds what is behind `row` of its key.
    pub(crate) fn hold(&mut self, row: &OutboxRow, until: Timestamp) {
        if let Some(key) = &row.outgoing.envelope.key {
            self.keys.insert(key.clone(), until);
        }
    }

    /// Keeps back what must wait; answers the rest of `wave`.
    pub(crate) fn keep_back(&mut self, wave: Vec<OutboxRow>) -> Vec<OutboxRow> {
        let key = |row: &OutboxRow| row.outgoing.envelope.key.clone();
        let until = |row: &OutboxRow| key(row).and_then(|key| self.keys.get(&key).copied());
        let (waiting, free): (Vec<_>, Vec<_>) =
            wave.into_iter().map(|row| (until(&row), row)).partition(|(until, _)| until.is_some());
        let waiting = waiting.into_iter().filter_map(|(until, row)| Some((row.token, until?)));
        self.back.extend(waiting);
        free.into_iter().map(|(_, row)| row).collect()
    }
}
