//! Order by key: who may go, and who stands behind whom. Pure.

use crate::row::Row;
use std::collections::{HashMap, VecDeque};
use tramline_core::capabilities::Ordering;

/// The lines of a queue that keeps an order, one for each key that has a message out.
///
/// The head of a line is ready, leased, or waits for its retry; it holds the key until it is out of
/// the queue. The others stand behind it, apart from what is ready, so that taking a message never
/// looks at one that may not go. A message that is not due yet stands in no line.
///
/// Lines are only ever looked up: their order in the map decides nothing.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    ordering: Ordering,
    lines: HashMap<Box<str>, Line>,
    behind: usize,
}

#[derive(Debug)]
struct Line {
    head: i64,
    behind: VecDeque<i64>,
}

impl Keys {
    pub(crate) fn new(ordering: Ordering) -> Self {
        Self { ordering, ..Self::default() }
    }

    /// Whether a row has an order to keep.
    pub(crate) fn keep(&self, row: &Row) -> bool {
        self.key(row).is_some()
    }

    /// A row lines up. Answers whether it may go: it has no order to keep, or is the head already,
    /// or is the first of its key.
    pub(crate) fn join(&mut self, id: i64, row: &Row) -> bool {
        let Some(key) = self.key(row) else { return true };
        if let Some(line) = self.lines.get_mut(key) {
            if line.head != id {
                line.behind.push_back(id);
                self.behind += 1;
            }
            return line.head == id;
        }
        self.lines.insert(key.into(), Line { head: id, behind: VecDeque::new() });
        true
    }

    /// A row is out of the queue. If it was the head of its line, answers who is that now.
    pub(crate) fn leave(&mut self, id: i64, row: &Row) -> Option<i64> {
        let key = self.key(row)?;
        let line = self.lines.get_mut(key)?;
        if line.head != id {
            let before = line.behind.len();
            line.behind.retain(|behind| *behind != id);
            self.behind -= before - line.behind.len();
            return None;
        }
        let Some(next) = line.behind.pop_front() else {
            self.lines.remove(key);
            return None;
        };
        line.head = next;
        self.behind -= 1;
        Some(next)
    }

    /// Ends the wait of everything that stands behind a head, for rows that are to be removed.
    pub(crate) fn take_behind(&mut self) -> Vec<i64> {
        self.behind = 0;
        self.lines.values_mut().flat_map(|line| std::mem::take(&mut line.behind)).collect()
    }

    /// How many stand behind a head.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }

    /// The line that a row belongs to.
    fn key<'a>(&self, row: &'a Row) -> Option<&'a str> {
        match self.ordering {
            Ordering::None => None,
            Ordering::PerKey => row.envelope.key.as_deref(),
            Ordering::PerQueue => Some(""),
        }
    }
}
