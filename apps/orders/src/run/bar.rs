//! How far a run is, for whoever watches: a bar on a terminal, else a line now and then.

use super::look::Look;
use crate::terminal;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::time::Instant;

/// Shows looks.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    rate: Rate,
    /// When the last line was written, where there is no terminal.
    told_at: Option<Instant>,
    orders: u64,
}

const TELL_EVERY: Duration = Duration::from_secs(3);

impl Bar {
    pub(super) fn new(orders: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(orders), ProgressDrawTarget::stderr());
        let template = "{bar:24} {human_pos} of {human_len} orders · {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, rate: Rate::default(), told_at: None, orders }
    }

    pub(super) fn show(&mut self, look: &Look, now: Instant) {
        // Orders that somebody places by hand meanwhile are none of the run's.
        let done = look.orders_done().min(self.orders);
        let rate = HumanCount(self.rate.note(done, now));
        if std::io::stderr().is_terminal() {
            self.bar.set_message(format!("{rate}/s · {look}"));
            self.bar.set_position(done);
        } else if self.told_at.is_none_or(|told_at| now.duration_since(told_at) >= TELL_EVERY) {
            self.told_at = Some(now);
            let (done, orders) = (HumanCount(done), HumanCount(self.orders));
            terminal::note(format_args!("{done} of {orders} orders · {rate}/s · {look}"));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Orders per second, lately.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    const WINDOW: Duration = Duration::from_secs(2);

    /// The rate now that `done` orders are done.
    fn note(&mut self, done: u64, now: Instant) -> u64 {
        while self.0.len() > 1 && self.0.front().is_some_and(|(at, _)| now - *at > Self::WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back((now, done));
        let Some((since, before)) = self.0.front() else { return 0 };
        let seconds = now.duration_since(*since).as_secs_f64();
        if seconds == 0.0 { 0 } else { (done.saturating_sub(*before) as f64 / seconds) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut rate = Rate::default();
        let mut note = |millis, done| rate.note(done, start + Duration::from_millis(millis));
        assert_eq!(note(0, 0), 0);
        assert_eq!(note(1000, 100), 100);
        assert_eq!(note(2000, 300), 150);
        assert_eq!(note(10_000, 1100), 100);
        assert_eq!(note(12_000, 1100), 0);
    }
}
