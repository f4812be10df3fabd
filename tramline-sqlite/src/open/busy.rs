//! What a connection does while another process has the lock.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// How long a writer waits for its turn before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a connection sleeps before it tries again.
pub(crate) const PAUSE: Duration = Duration::from_micros(500);

thread_local! {
    static WAIT: Cell<(Duration, Option<Instant>)> = const { Cell::new((PATIENCE, None)) };
}

/// Sleeps for a moment and answers whether to try again.
///
/// SQLite's own handler backs off up to 100 ms, so that one busy process keeps the lock and the
/// others starve; short and even pauses let all of them go on.
pub(crate) fn wait_a_moment(tries: i32) -> bool {
    const FIRST_PAUSE: Duration = Duration::from_micros(100);
    let (patience, since) = WAIT.get();
    let since = match since {
        Some(since) if tries > 0 => since,
        _ => Instant::now(),
    };
    WAIT.set((patience, Some(since)));
    if since.elapsed() >= patience {
        return false;
    }
    thread::sleep(if tries == 0 { FIRST_PAUSE } else { PAUSE });
    true
}

/// Runs `f` with less patience than usual on this thread.
pub(crate) fn with_patience<T>(patience: Duration, f: impl FnOnce() -> T) -> T {
    WAIT.set((patience, None));
    let answer = f();
    WAIT.set((PATIENCE, None));
    answer
}
