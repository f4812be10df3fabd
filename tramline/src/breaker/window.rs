//! What happened of late: counted in parts of the window, so that it takes little room and forgets by itself.

use std::collections::VecDeque;
use std::time::Duration;
use tramline_core::clock::Timestamp;

/// How exactly a window ends: to a tenth of it.
const PARTS: i64 = 10;

/// Calls and failures of the last window, up to a tenth of it less.
#[derive(Clone, Debug)]
pub(super) struct Window {
    part_micros: i64,
    /// Oldest first; none is older than the window.
    parts: VecDeque<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    number: i64,
    calls: u64,
    failed: u64,
}

/// How many calls there were, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) calls: u64,
    pub(super) failed: u64,
}

impl Window {
    pub(super) fn of(length: Duration) -> Self {
        let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        Self { part_micros: (micros / PARTS).max(1), parts: VecDeque::new() }
    }

    /// Counts a call that has ended.
    pub(super) fn add(&mut self, failed: bool, now: Timestamp) {
        let number = self.forget(now);
        let is_there = self.parts.back().is_some_and(|part| part.number == number);
        if !is_there {
            self.parts.push_back(Part { number, calls: 0, failed: 0 });
        }
        if let Some(part) = self.parts.back_mut() {
            part.calls += 1;
            part.failed += u64::from(failed);
        }
    }

    /// What is still in the window.
    pub(super) fn count(&mut self, now: Timestamp) -> Count {
        self.forget(now);
        self.parts.iter().fold(Count::default(), |sum, part| Count {
            calls: sum.calls + part.calls,
            failed: sum.failed + part.failed,
        })
    }

    /// Answers the number of the part that `now` is in; after a clock was set back, the last one's.
    fn forget(&mut self, now: Timestamp) -> i64 {
        let last = self.parts.back().map_or(i64::MIN, |part| part.number);
        let number = now.as_micros().div_euclid(self.part_micros);
        // So far back that the window would not move for long: the past is worth nothing then.
        if last.saturating_sub(number) > PARTS {
            self.parts.clear();
            return number;
        }
        let number = number.max(last);
        while self.parts.front().is_some_and(|part| number.saturating_sub(part.number) >= PARTS) {
            self.parts.pop_front();
        }
        number
    }
}
