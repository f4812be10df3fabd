//! Dead letters go back to their queue, at once or a few at a time.

use crate::memory::Memory;
use crate::queue::Place;
use crate::routes::QueueNumber;
use crate::row::Row;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;
use tramline_core::filter::{Facts, Matcher};
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Redrive, Selection};
use tramline_core::{Error, ErrorKind, Result};

impl Memory {
    /// What is dead when this is called is put back, and what dies meanwhile stays. Dropped between
    /// two steps, it has done those before.
    pub(crate) async fn put_back_dead(&self, queue: &QueueName, what: Redrive) -> Result<u64> {
        let pace = what.rate.map(|rate| Pace::new(queue, rate)).transpose()?;
        let chosen = Chosen::new(queue, &what.selection)?;
        let main = self.shared.routes().declared(&QueueRef::Main(queue.clone()))?;
        let ids = self.choose(main, &chosen);
        if what.dry_run {
            return Ok(ids.len() as u64);
        }
        let mut redriven = 0;
        let mut steps =
            ids.chunks(pace.as_ref().map_or(usize::MAX, |pace| pace.at_once)).peekable();
        while let Some(step) = steps.next() {
            redriven += self.step(main, step);
            if let (Some(pace), Some(_)) = (&pace, steps.peek()) {
                let clock = &self.shared.options.clock;
                clock.sleep_until(clock.now().after(pace.pause)).await;
            }
        }
        Ok(redriven)
    }

    /// The ids of chosen dead letters. What somebody has taken is not among them.
    fn choose(&self, main: QueueNumber, chosen: &Chosen<'_>) -> Vec<i64> {
        let now = self.shared.now();
        self.shared.change(|state| {
            let rows = state.queue_at(main.dead(), now).rows(None);
            let free = rows.filter(|(_, _, place)| !matches!(place, Place::Leased(_)));
            free.filter(|(_, row, _)| chosen.holds(row)).map(|(id, ..)| id).collect()
        })
    }

    /// Puts back those of `ids` that are still there and free. Answers how many.
    fn step(&self, main: QueueNumber, ids: &[i64]) -> u64 {
        let now = self.shared.now();
        self.shared.change(|state| {
            let put = ids.iter().filter(|id| state.redrive(main, **id, now));
            put.count() as u64
        })
    }
}

/// How fast dead letters go back: so many, and then a pause.
#[derive(Debug, PartialEq, Eq)]
struct Pace {
    at_once: usize,
    pause: Duration,
}

impl Pace {
    /// Steps of a tenth of a second, or longer ones of a single message each.
    fn new(queue: &QueueName, rate: u32) -> Result<Self> {
        let Some(rate) = NonZeroU32::new(rate) else {
            let doing = format!("redrive dead letters of queue {queue}");
            let why = "at most 0 a second is none ever; leave the rate out for no bound";
            return Err(Error::new(ErrorKind::Misconfigured, doing).because(why));
        };
        let at_once = (rate.get() / 10).max(1);
        let pause = Duration::from_secs_f64(f64::from(at_once) / f64::from(rate.get()));
        Ok(Self { at_once: at_once as usize, pause })
    }
}

/// A selection, ready to look at rows.
enum Chosen<'a> {
    All,
    Ids(HashSet<&'a MessageId>),
    Matching(Matcher),
}

impl<'a> Chosen<'a> {
    fn new(queue: &QueueName, selection: &'a Selection) -> Result<Self> {
        Ok(match selection {
            Selection::All => Self::All,
            Selection::Ids(ids) => Self::Ids(ids.iter().collect()),
            Selection::Matching(filter) => Self::Matching(filter.compile().map_err(|error| {
                let doing = format!("redrive dead letters of queue {queue}");
                Error::new(ErrorKind::Misconfigured, doing).because(error)
            })?),
        })
    }

    fn holds(&self, row: &Row) -> bool {
        let envelope = &row.envelope;
        match self {
            Self::All => true,
            Self::Ids(ids) => envelope.id.as_ref().is_some_and(|id| ids.contains(id)),
            Self::Matching(matcher) => {
                let mut headers = envelope.headers.clone();
                if let Some(death) = row.record.death() {
                    headers.insert("reason", death.reason.as_str());
                    if let Some(note) = death.history.notes().last() {
                        headers.insert("error", note.error.as_str());
                    }
                }
                let name = envelope.name.as_deref().unwrap_or_default();
                let subject = envelope.via.as_ref().map_or(name, |via| &via.subject);
                matcher.matches(&Facts::new(subject, &headers, &envelope.body))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_its_rate() {
        let queue = QueueName::new("work").unwrap();
        for rate in [1, 2, 3, 9, 10, 11, 19, 99, 1_000, u32::MAX] {
            let pace = Pace::new(&queue, rate).unwrap();
            let steps = 1.0 / pace.pause.as_secs_f64();
            assert!(steps * pace.at_once as f64 <= f64::from(rate) * 1.000_001, "{rate}: {pace:?}");
        }
        assert!(Pace::new(&queue, 0).is_err());
    }
}
