//! Who of this process reads: nobody may, for a moment, when the write-ahead log is to begin anew.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// How long a reader waits for the log. The writer may have nothing to do in the meantime, and so
/// not come to it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The readers of one file in this process.
#[derive(Default)]
pub(crate) struct Reading {
    state: Mutex<State>,
    let_go: Condvar,
}

#[derive(Default)]
struct State {
    readers: usize,
    waiting: usize,
    is_held_back: bool,
}

/// A reader at work. Dropped, it is none any more.
pub(crate) struct Reader<'a>(&'a Reading);

impl Reading {
    /// Begins to read, after those that the writer holds back were let go or have waited for long
    /// enough. Blocks.
    pub(crate) fn begin(&self) -> Reader<'_> {
        self.begin_within(PATIENCE)
    }

    fn begin_within(&self, patience: Duration) -> Reader<'_> {
        let mut state = self.state.lock();
        if state.is_held_back {
            state.waiting += 1;
            self.let_go.wait_while_for(&mut state, |state| state.is_held_back, patience);
            state.waiting -= 1;
            if state.is_held_back {
                // The writer has nothing to do, and nobody else is to wait for it. With its next
                // group it holds them back again.
                state.is_held_back = false;
                self.let_go.notify_all();
            }
        }
        state.readers += 1;
        Reader(self)
    }

    /// From here on nobody begins to read. Answers how many still do.
    pub(crate) fn hold_back(&self) -> usize {
        let mut state = self.state.lock();
        state.is_held_back = true;
        state.readers
    }

    /// Those who were held back begin.
    pub(crate) fn let_go(&self) {
        self.state.lock().is_held_back = false;
        self.let_go.notify_all();
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.0.state.lock().readers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Instant;

    const BOUND: Duration = Duration::from_secs(20);
    const FOR_EVER: Duration = Duration::from_secs(3600);

    /// Starts a thread that begins to read however long it takes, and ends. Answers when it waits.
    fn reader_that_waits(reading: &Arc<Reading>) -> Receiver<()> {
        let (began, begins) = channel();
        let waiting = reading.state.lock().waiting;
        let reader = reading.clone();
        thread::spawn(move || {
            drop(reader.begin_within(FOR_EVER));
            began.send(())
        });
        let deadline = Instant::now() + BOUND;
        while reading.state.lock().waiting == waiting {
            assert!(Instant::now() < deadline, "it does not wait");
            thread::yield_now();
        }
        begins
    }

    #[test]
    fn readers_that_are_held_back_begin_when_they_are_let_go() {
        let reading = Arc::<Reading>::default();
        let at_work = reading.begin();
        assert_eq!(reading.hold_back(), 1);
        drop(at_work);
        assert_eq!(reading.hold_back(), 0);
        let begin = [(); 2].map(|()| reader_that_waits(&reading));
        reading.let_go();
        for begins in begin {
            assert_eq!(begins.recv_timeout(BOUND), Ok(()));
        }
        assert_eq!(reading.hold_back(), 0);
    }

    #[test]
    fn a_reader_that_nobody_lets_go_begins_all_the_same_and_lets_the_others_begin() {
        let reading = Arc::<Reading>::default();
        assert_eq!(reading.hold_back(), 0);
        let begins = reader_that_waits(&reading);
        let reader = reading.begin_within(Duration::from_millis(1));
        assert_eq!(begins.recv_timeout(BOUND), Ok(()));
        drop(reading.begin_within(FOR_EVER));
        assert_eq!(reading.hold_back(), 1);
        drop(reader);
        assert_eq!(reading.hold_back(), 0);
    }
}
