//! Which deliveries of a channel are done, and how few acks say so. Pure.

use std::collections::VecDeque;

/// The deliveries of one channel that the broker waits for, by their tags, which only grow.
///
/// The broker can be told "done up to here" in one frame. What is done behind a slow one waits for
/// that a little while, and is then told by itself, so that it does not use up the prefetch.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By tag. What is gone in the middle stays until the next sweep.
    entries: VecDeque<Entry>,
    /// How many are out.
    out: usize,
    /// How many are done and the broker has not been told.
    untold: usize,
    /// The last tag that is known of.
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Delivered, or on its way: its end is not known.
    Out,
    /// Done since the last sweep.
    Done,
    /// Done, and the last sweep waited for what is before it.
    Overdue,
    /// The broker was told.
    Told,
}

impl Ledger {
    /// The broker delivered `tag`. Tags that were skipped count as out: an ack up to here must not
    /// reach what nobody has seen.
    pub(crate) fn delivered(&mut self, tag: u64) {
        for tag in self.last + 1..=tag {
            self.entries.push_back(Entry { tag, state: State::Out });
            self.out += 1;
        }
        self.last = self.last.max(tag);
    }

    /// `tag` is done. `false` if it was not out.
    pub(crate) fn done(&mut self, tag: u64) -> bool {
        let was_out = self.end(tag, State::Done);
        self.untold += usize::from(was_out);
        was_out
    }

    /// The broker is told now that `tag` goes back. `false` if it was not out.
    pub(crate) fn returned(&mut self, tag: u64) -> bool {
        self.end(tag, State::Told)
    }

    /// How many are done and the broker has not been told.
    pub(crate) fn untold(&self) -> usize {
        self.untold
    }

    /// How many the broker waits for.
    pub(crate) fn unheard(&self) -> usize {
        self.out + self.untold
    }

    /// Whether nothing is out.
    pub(crate) fn is_all_done(&self) -> bool {
        self.out == 0
    }

    /// Takes what is done without a gap: the broker is to be told "done up to this tag". Whatever was
    /// returned before must have been told first.
    pub(crate) fn take_prefix(&mut self) -> Option<u64> {
        let mut up_to = None;
        while let Some(&Entry { tag, state }) = self.entries.front() {
            match state {
                State::Out => break,
                State::Done | State::Overdue => {
                    self.untold -= 1;
                    up_to = Some(tag);
                }
                State::Told => {}
            }
            self.entries.pop_front();
        }
        up_to
    }

    /// Takes what was done behind a slow one already when this was last called: the broker is to be
    /// told each of these tags by itself. Called at regular times, after
    /// [`take_prefix`](Self::take_prefix).
    pub(crate) fn sweep(&mut self) -> Vec<u64> {
        if self.untold == 0 && self.entries.len() == self.out {
            return Vec::new();
        }
        let mut overdue = Vec::new();
        self.entries.retain_mut(|entry| match entry.state {
            State::Out => true,
            State::Done => {
                entry.state = State::Overdue;
                true
            }
            State::Overdue => {
                overdue.push(entry.tag);
                false
            }
            State::Told => false,
        });
        self.untold -= overdue.len();
        overdue
    }

    fn end(&mut self, tag: u64, state: State) -> bool {
        let Some(entry) = self.find(tag).filter(|entry| entry.state == State::Out) else {
            return false;
        };
        entry.state = state;
        self.out -= 1;
        true
    }

    fn find(&mut self, tag: u64) -> Option<&mut Entry> {
        // Without gaps, which is how it nearly always is, the tag says the place.
        let guess = usize::try_from(tag.checked_sub(self.entries.front()?.tag)?).ok()?;
        let place = match self.entries.get(guess) {
            Some(entry) if entry.tag == tag => guess,
            _ => self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?,
        };
        self.entries.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(delivered: u64) -> Ledger {
        let mut ledger = Ledger::default();
        (1..=delivered).for_each(|tag| ledger.delivered(tag));
        ledger
    }

    #[test]
    fn what_is_done_without_a_gap_is_told_at_once() {
        let mut ledger = of(4);
        assert!(ledger.done(2) && ledger.done(1));
        assert_eq!((ledger.take_prefix(), ledger.take_prefix()), (Some(2), None));
        assert_eq!((ledger.untold(), ledger.is_all_done()), (0, false));
        assert!(ledger.done(3) && ledger.done(4));
        assert_eq!((ledger.take_prefix(), ledger.is_all_done()), (Some(4), true));
    }

    #[test]
    fn what_is_done_behind_a_slow_one_is_told_by_itself_at_the_second_sweep() {
        let mut ledger = of(4);
        assert!(ledger.done(2) && ledger.done(4));
        assert_eq!((ledger.take_prefix(), ledger.sweep()), (None, vec![]));
        assert!(ledger.done(3));
        assert_eq!((ledger.take_prefix(), ledger.sweep()), (None, vec![2, 4]));
        assert_eq!(ledger.sweep(), [3]);
        assert!(ledger.done(1));
        assert_eq!(ledger.take_prefix(), Some(1));
        assert!(ledger.entries.is_empty());
    }

    #[test]
    fn an_end_counts_once() {
        let mut ledger = of(2);
        assert!(ledger.done(1) && !ledger.done(1) && !ledger.returned(1));
        assert!(ledger.returned(2) && !ledger.done(2));
        assert_eq!((ledger.take_prefix(), ledger.untold()), (Some(1), 0));
        assert!(!ledger.done(1) && !ledger.done(3) && !ledger.done(0));
    }

    #[test]
    fn what_was_skipped_is_not_told() {
        let mut ledger = Ledger::default();
        ledger.delivered(3);
        assert!(ledger.done(3));
        assert_eq!(ledger.take_prefix(), None);
        ledger.delivered(1);
        ledger.delivered(2);
        assert!(ledger.done(1) && ledger.done(2));
        assert_eq!((ledger.take_prefix(), ledger.is_all_done()), (Some(3), true));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Deliver,
        Skip,
        Done(prop::sample::Index),
        Return(prop::sample::Index),
        Tell,
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Deliver),
            1 => Just(Step::Skip),
            6 => any::<prop::sample::Index>().prop_map(Step::Done),
            1 => any::<prop::sample::Index>().prop_map(Step::Return),
            2 => Just(Step::Tell),
            1 => Just(Step::Sweep),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// What the broker and the handlers know.
    #[derive(Default)]
    struct World {
        ledger: Ledger,
        sent: u64,
        /// Sent, and the broker has not heard of its end.
        unheard: BTreeSet<u64>,
        /// At work.
        out: BTreeSet<u64>,
        done: BTreeSet<u64>,
        skipped: BTreeSet<u64>,
    }

    impl World {
        fn send(&mut self, is_seen: bool) {
            self.sent += 1;
            self.unheard.insert(self.sent);
            if is_seen {
                self.ledger.delivered(self.sent);
                self.out.insert(self.sent);
            } else {
                self.skipped.insert(self.sent);
            }
        }

        fn some_out(&mut self, index: &prop::sample::Index) -> Option<u64> {
            let out: Vec<_> = self.out.iter().copied().collect();
            let tag = *(!out.is_empty()).then(|| index.get(&out))?;
            self.out.remove(&tag);
            Some(tag)
        }

        fn tell(&mut self) {
            if let Some(up_to) = self.ledger.take_prefix() {
                let heard: Vec<_> = self.unheard.range(..=up_to).copied().collect();
                heard.into_iter().for_each(|tag| self.hear(tag));
            }
        }

        fn sweep(&mut self) {
            self.tell();
            self.ledger.sweep().into_iter().for_each(|tag| self.hear(tag));
        }

        fn hear(&mut self, tag: u64) {
            assert!(self.done.contains(&tag), "{tag} was acked and is not done");
            assert!(self.unheard.remove(&tag), "{tag} was acked twice");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_acked_that_is_not_done_and_everything_that_is_done_is_acked(
            steps in steps(),
        ) {
            let mut world = World::default();
            for step in steps {
                match step {
                    Step::Deliver => world.send(true),
                    Step::Skip => world.send(false),
                    Step::Tell => world.tell(),
                    Step::Sweep => {
                        world.sweep();
                        // Bounded by the prefetch: nothing is kept that the broker has heard of.
                        prop_assert!(world.ledger.entries.len() <= world.unheard.len());
                        let ahead = world.skipped.range(world.ledger.last + 1..).count();
                        prop_assert_eq!(world.ledger.unheard() + ahead, world.unheard.len());
                    }
                    Step::Done(index) => {
                        if let Some(tag) = world.some_out(&index) {
                            prop_assert!(world.ledger.done(tag));
                            world.done.insert(tag);
                        }
                    }
                    Step::Return(index) => {
                        if let Some(tag) = world.some_out(&index) {
                            prop_assert!(world.ledger.returned(tag));
                            world.unheard.remove(&tag);
                        }
                    }
                }
            }
            // Two sweeps later the broker has heard of all that is done, whatever is still out.
            world.sweep();
            world.sweep();
            let at_work: BTreeSet<u64> = world.out.union(&world.skipped).copied().collect();
            prop_assert_eq!(&world.unheard, &at_work);
            prop_assert_eq!(world.ledger.untold(), 0);
            for tag in std::mem::take(&mut world.out) {
                prop_assert!(world.ledger.done(tag));
                world.done.insert(tag);
            }
            world.sweep();
            world.sweep();
            prop_assert_eq!(&world.unheard, &world.skipped);
        }
    }
}
