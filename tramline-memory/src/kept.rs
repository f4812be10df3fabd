//! Handled messages that stay to be looked at. Pure.

use crate::row::Row;
use std::collections::VecDeque;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::operate::Completed;

/// How many old messages a new one takes with it: more than one, so that they cannot pile up.
const FORGOTTEN_AT_ONCE: usize = 2;

/// The messages of a queue that were handled lately, in the order in which they were.
#[derive(Debug)]
pub(crate) struct Kept {
    keep: Duration,
    kept_ever: i64,
    messages: VecDeque<Completed>,
}

impl Kept {
    pub(crate) fn new(keep: Duration) -> Self {
        Self { keep, kept_ever: 0, messages: VecDeque::new() }
    }

    /// Keeps a message that was handled, and forgets a few old ones.
    pub(crate) fn add(&mut self, row: &Row, now: Timestamp) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let keep = self.keep;
            self.messages.pop_front_if(|oldest| oldest.at.after(keep) <= now);
        }
        self.kept_ever += 1;
        self.messages.push_back(Completed {
            position: self.kept_ever,
            envelope: row.envelope.clone(),
            failures: row.record.failures(),
            at: now,
        });
    }

    /// Those behind `after` whose time is not over.
    pub(crate) fn behind(
        &self,
        after: Option<i64>,
        now: Timestamp,
    ) -> impl Iterator<Item = &Completed> {
        let is_over = move |one: &Completed| one.at.after(self.keep) <= now;
        let is_behind = move |one: &Completed| after.is_none_or(|after| one.position > after);
        self.messages.iter().filter(move |one| is_behind(one) && !is_over(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Record;
    use std::sync::Arc;

    #[test]
    fn what_is_over_is_not_shown_and_goes_a_little_at_a_time() {
        let mut kept = Kept::new(Duration::from_secs(10));
        let at = Timestamp::from_millis;
        let row = Row::new(Arc::default(), Record::default(), at(0));
        (0..3).for_each(|_| kept.add(&row, at(0)));
        assert_eq!(kept.behind(None, at(9_999)).count(), 3);
        assert_eq!(kept.behind(Some(1), at(9_999)).count(), 2);
        assert_eq!(kept.behind(None, at(10_000)).count(), 0);
        kept.add(&row, at(10_000));
        assert_eq!(kept.messages.len(), 2, "two of three are gone");
    }
}
