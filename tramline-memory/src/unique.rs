//! Queues that have one message of a key at a time: who is there holds its key. Pure.

use crate::row::Row;
use std::collections::HashMap;

/// How many rows hold each key: copies and redrives come in whoever holds it. Only ever looked up.
#[derive(Debug, Default)]
pub(crate) struct Held(HashMap<Box<str>, usize>);

impl Held {
    /// Whether more rows than `leaving` hold the key.
    pub(crate) fn is_held(&self, key: &str, leaving: usize) -> bool {
        self.0.get(key).is_some_and(|holders| *holders > leaving)
    }

    /// A row came into the queue.
    pub(crate) fn hold(&mut self, row: &Row) {
        if let Some(key) = row.envelope.key.as_deref() {
            *self.0.entry(key.into()).or_default() += 1;
        }
    }

    /// A row has left the queue.
    pub(crate) fn free(&mut self, row: &Row) {
        let Some(key) = row.envelope.key.as_deref() else { return };
        if let Some(holders) = self.0.get_mut(key) {
            *holders -= 1;
            if *holders == 0 {
                self.0.remove(key);
            }
        }
    }
}
