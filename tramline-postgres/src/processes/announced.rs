//! What shows others that this process lives.

use super::beat::Beat;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The session that holds a lock for as long as this process lives.
#[derive(Default)]
pub(crate) struct Announced {
    pub(crate) beat: Beat,
    shown: Mutex<Shown>,
    cut: Notify,
}

#[derive(Default)]
struct Shown {
    backend: Option<i32>,
    /// What the table says.
    written: Option<i32>,
    /// When a session was last lost.
    lost: Option<Instant>,
}

/// Who has come back a moment ago cannot tell the dead from those who were cut off with him and are still
/// trying to come back.
const DAZED: Duration = Duration::from_secs(15);

impl Announced {
    /// This session of the server holds the lock, as is known at `now`.
    pub(crate) fn shows(&self, backend: i32, now: Instant) {
        let mut shown = self.shown.lock();
        shown.backend = Some(backend);
        // Others may take longer to come back.
        shown.lost = shown.lost.map(|_| now);
        self.beat.at_once();
    }

    /// The server has let go of the session, and nobody has told us: others see us as dead.
    pub(crate) fn is_cut(&self) {
        self.cut.notify_one();
    }

    /// Ends when that was found out. Cancel-safe.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// There is none any more, as is found at `now`.
    pub(crate) fn lost(&self, now: Instant) {
        let mut shown = self.shown.lock();
        shown.lost = Some(now);
        if shown.backend.take().is_some() {
            self.beat.at_once();
        }
    }

    /// This process has taken something: others have to know that they would see it die.
    pub(crate) fn took(&self) {
        let shown = self.shown.lock();
        if shown.backend.is_some() && shown.backend != shown.written {
            self.beat.soon();
        }
    }

    /// The session, and whether this process may say of others that they are dead.
    pub(crate) fn shown(&self, now: Instant) -> (Option<i32>, bool) {
        let shown = self.shown.lock();
        let is_dazed = shown.lost.is_some_and(|lost| now.duration_since(lost) < DAZED);
        (shown.backend, shown.backend.is_some() && !is_dazed)
    }

    /// So the table says.
    pub(crate) fn written(&self, backend: Option<i32>) {
        self.shown.lock().written = backend;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_cut_off_judges_nobody_for_a_while() {
        let (announced, now) = (Announced::default(), Instant::now());
        assert_eq!(announced.shown(now), (None, false));
        announced.shows(7, now);
        assert_eq!(announced.shown(now), (Some(7), true));
        announced.lost(now);
        assert_eq!(announced.shown(now), (None, false));
        announced.shows(8, now);
        assert_eq!(announced.shown(now), (Some(8), false));
        assert_eq!(announced.shown(now + DAZED), (Some(8), true));
    }
}
