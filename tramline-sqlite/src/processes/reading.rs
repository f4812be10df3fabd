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
    is_held_back: bool,
}

/// A reader at work. Dropped, it is none any more.
pub(crate) struct Reader<'a>(&'a Reading);

impl Reading {
    /// Begins to read, after those that the writer holds back were let go or have waited for long
    /// enough. Blocks.
    pub(crate) fn begin(&self) -> Reader<'_> {
        let mut state = self.state.lock();
        if state.is_held_back {
            self.let_go.wait_while_for(&mut state, |state| state.is_held_back, PATIENCE);
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
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn a_reader_that_is_held_back_begins_when_it_is_let_go() {
        let reading = Reading::default();
        let first = reading.begin();
        assert_eq!(reading.hold_back(), 1);
        drop(first);
        assert_eq!(reading.hold_back(), 0);
        let (began, begins) = channel();
        thread::scope(|scope| {
            let reading = &reading;
            scope.spawn(move || began.send(reading.begin().0.state.lock().is_held_back));
            reading.let_go();
            assert_eq!(begins.recv(), Ok(false));
        });
        assert_eq!(reading.hold_back(), 0);
    }

    #[test]
    fn a_reader_that_nobody_lets_go_begins_all_the_same() {
        let reading = Reading::default();
        assert_eq!(reading.hold_back(), 0);
        let reader = reading.begin();
        assert_eq!(reading.hold_back(), 1);
        drop(reader);
        assert_eq!(reading.hold_back(), 0);
    }
}
