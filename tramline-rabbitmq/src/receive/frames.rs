//! Whether the broker may still have frames before it that its end of a channel keeps. Pure.

use std::time::{Duration, Instant};

/// The broker's end of a channel lets 32 settlements be on their way to a quorum queue
/// (`rabbit_fifo_client`, its soft limit). It keeps more than that to itself, and they end with the
/// channel: messages that were acked come again. So few never come to that.
const FEW: u32 = 16;

/// The settlements that a channel has sent.
#[derive(Debug, Default)]
pub(super) struct Frames {
    last: Option<Instant>,
    /// How many there were without a pause.
    count: u32,
}

impl Frames {
    /// After so long without one, all are with the queue, as far as anybody can say: they have no
    /// answer.
    pub(super) const PAUSE: Duration = Duration::from_millis(250);

    /// One is sent at `now`.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.last.is_none_or(|last| now - last > Self::PAUSE) {
            self.count = 0;
        }
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
    }

    /// When all are with the queue; `None`: they are now.
    pub(super) fn all_heeded_at(&self, now: Instant) -> Option<Instant> {
        let at = self.last? + Self::PAUSE;
        (self.count > FEW && at > now).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_frames_take_a_moment_and_few_do_not() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut frames = Frames::default();
        assert_eq!(frames.all_heeded_at(start), None);
        (0..16).for_each(|millis| frames.sent(at(millis)));
        assert_eq!(frames.all_heeded_at(at(15)), None);
        frames.sent(at(100));
        assert_eq!(frames.all_heeded_at(at(100)), Some(at(350)));
        assert_eq!(frames.all_heeded_at(at(350)), None);
        frames.sent(at(351));
        assert_eq!(frames.all_heeded_at(at(351)), None);
    }
}
