//! How many messages a receiver may hold: more while they are handled quickly. Pure.

use super::order::{Order, asks};
use std::time::{Duration, Instant};
use tramline_core::transport::Source;

/// If as many as may be held are handed out sooner than this, more may be held.
const QUICK: Duration = Duration::from_millis(20);
/// If that many take longer than this, and there always was one, fewer may be held.
const SLOW: Duration = Duration::from_secs(1);
/// What the bodies of all that may be held may come to, for more to be held.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Counts what is handed out.
///
/// With few in hand, a quick handler waits for the way to the broker and back. With many, a slow
/// process keeps from others what they could handle. So there are two sizes, far from each other,
/// because to change it costs a consumer.
#[derive(Debug)]
pub(super) struct Pace {
    least: u16,
    most: u16,
    held: u16,
    round: Round,
}

/// The first of as many messages as may be held, and what has been handed out since.
#[derive(Debug, Default)]
struct Round {
    began: Option<Instant>,
    messages: u16,
    bytes: usize,
}

impl Pace {
    /// The pace of a receiver of `source`. A consumer that must stay is never changed: where the queue
    /// ends with it, or another process takes its place.
    pub(super) fn of(source: &Source) -> Self {
        let fits = |messages: u32| u16::try_from(messages.max(1)).unwrap_or(u16::MAX);
        let least = fits(source.prefetch);
        let most = if is_bound_to_consumer(source) { least } else { fits(source.prefetch_max) };
        Self { least, most: most.max(least), held: least, round: Round::default() }
    }

    /// How many messages may be held.
    pub(super) fn held(&self) -> u16 {
        self.held
    }

    /// A message with so many bytes is handed out at `now`. How many should be held, if not as many as
    /// now.
    pub(super) fn hands_out(&mut self, bytes: usize, now: Instant) -> Option<u16> {
        if self.least == self.most {
            return None;
        }
        let round = &mut self.round;
        let began = *round.began.get_or_insert(now);
        round.messages += 1;
        round.bytes = round.bytes.saturating_add(bytes);
        if round.messages < self.held {
            return None;
        }
        let (took, Round { bytes, .. }) = (now - began, std::mem::take(round));
        let grown = bytes / usize::from(self.held) * usize::from(self.most);
        if self.held == self.least {
            (took < QUICK && grown <= BYTES_MAX).then_some(self.most)
        } else {
            (took > SLOW || grown > BYTES_MAX).then_some(self.least)
        }
    }

    /// So many are held from now on.
    pub(super) fn changes_to(&mut self, held: u16) {
        self.held = held;
        self.round = Round::default();
    }

    /// There is nothing to hand out. With many in hand this means that the queue is empty, which says
    /// nothing about handlers; with few, that they wait for the broker.
    pub(super) fn rests(&mut self) {
        if self.held > self.least {
            self.round = Round::default();
        }
    }
}

fn is_bound_to_consumer(source: &Source) -> bool {
    let spec = &source.spec;
    spec.temporary || asks(spec, "auto-delete") || Order::of(source).has_one_consumer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tramline_core::capabilities::Ordering;
    use tramline_core::name::{QueueName, QueueRef};

    fn source() -> Source {
        let queue = QueueRef::Main(QueueName::foreign("work"));
        Source { prefetch_max: 1000, ..Source::of(queue, 100) }
    }

    /// What `count` messages lead to that are handed out in `millis`, evenly.
    fn after(pace: &mut Pace, began: &mut Instant, count: u32, millis: u32) -> Option<u16> {
        let step = Duration::from_millis(millis.into()) / count;
        let mut changed = None;
        for _ in 0..count {
            *began += step;
            if let Some(held) = pace.hands_out(1000, *began) {
                pace.changes_to(held);
                assert_eq!(changed.replace(held), None);
            }
        }
        changed
    }

    #[test]
    fn more_are_held_while_they_are_handled_quickly_and_fewer_when_they_are_not() {
        let (mut pace, mut now) = (Pace::of(&source()), Instant::now());
        assert_eq!(after(&mut pace, &mut now, 300, 120), None);
        assert_eq!(after(&mut pace, &mut now, 100, 15), Some(1000));
        assert_eq!(after(&mut pace, &mut now, 3000, 2700), None);
        assert_eq!(after(&mut pace, &mut now, 1000, 1100), Some(100));
        assert_eq!(after(&mut pace, &mut now, 200, 100), None);
    }

    #[test]
    fn an_empty_queue_says_nothing_about_handlers_and_a_short_supply_does() {
        let (mut pace, mut now) = (Pace::of(&source()), Instant::now());
        for _ in 0..50 {
            assert_eq!(after(&mut pace, &mut now, 1, 0), None);
            pace.rests();
        }
        assert_eq!(after(&mut pace, &mut now, 50, 10), Some(1000), "the broker was waited for");
        for _ in 0..10 {
            assert_eq!(after(&mut pace, &mut now, 900, 9000), None);
            pace.rests();
        }
    }

    #[test]
    fn large_bodies_are_not_gathered() {
        let (mut pace, now) = (Pace::of(&source()), Instant::now());
        let large = BYTES_MAX / 1000 + 1000;
        assert!((0..1000).all(|_| pace.hands_out(large, now).is_none()));
        assert_eq!(after(&mut pace, &mut now.clone(), 100, 1), Some(1000));
        assert_eq!((0..1000).find_map(|_| pace.hands_out(large, now)), Some(100));
    }

    #[test]
    fn a_consumer_that_must_stay_is_not_changed() {
        let argument = |name: &str| {
            let mut source = source();
            source.spec.arguments.insert(name.to_owned(), "true".to_owned());
            source
        };
        let (mut temporary, mut ordered, mut fixed) = (source(), source(), source());
        temporary.spec.temporary = true;
        ordered.spec.ordering = Ordering::PerKey;
        fixed.prefetch_max = 100;
        let stay = [argument("auto-delete"), argument("x-single-active-consumer")];
        for source in stay.into_iter().chain([temporary, ordered, fixed]) {
            let (mut pace, mut now) = (Pace::of(&source), Instant::now());
            assert_eq!(after(&mut pace, &mut now, 500, 5), None, "{source:?}");
        }
    }
}
