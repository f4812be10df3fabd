//! Tells a broker that confirms nothing from one that reads nothing any more.
//!
//! A connection that waits for the credit of a quorum queue which is deleted in that moment is not read
//! from any more (RabbitMQ 3.10), though it shows signs of life. It is made again. A queue that confirms
//! nothing, for want of a leader, is no reason: others are on the same connection. So the broker is asked
//! for a channel, which it gives as soon as it reads.

use crate::link::Session;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the broker has yet to answer on one connection, on whichever channel.
pub(super) struct Silence(Mutex<State>);

struct State {
    /// Of all that is not answered.
    bytes: u64,
    /// Of the largest message since there was nothing to answer.
    bytes_max: u64,
    /// When the broker has answered last, or was asked first.
    heard: Instant,
}

/// One channel's part. What it leaves unanswered is not waited for when it is dropped.
pub(super) struct Share {
    silence: Arc<Silence>,
    bytes: AtomicU64,
}

impl Silence {
    /// Watches over `session` until it ends, and ends it when the broker does not read from it.
    pub(super) fn on(session: Session) -> Arc<Self> {
        let state = State { bytes: 0, bytes_max: 0, heard: Instant::now() };
        let silence = Arc::new(Self(Mutex::new(state)));
        tokio::spawn(watch(session, silence.clone()));
        silence
    }

    /// The part of a new channel.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { silence: self.clone(), bytes: AtomicU64::new(0) }
    }

    /// Counts as an answer.
    fn end(&self) {
        self.0.lock().heard = Instant::now();
    }

    /// Whether something is unanswered, and nothing was answered for `limit`.
    fn lasts(&self, limit: Duration) -> bool {
        let state = self.0.lock();
        state.bytes > 0 && state.heard.elapsed() >= limit
    }
}

impl Share {
    /// A message of so many bytes is handed to the client.
    pub(super) fn handed(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.silence.0.lock().handed(bytes);
    }

    /// So many bytes of them were answered.
    pub(super) fn answered(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.silence.0.lock().answered(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.silence.0.lock().bytes -= *self.bytes.get_mut();
    }
}

impl State {
    fn handed(&mut self, bytes: u64) {
        if self.bytes == 0 {
            self.heard = Instant::now();
            self.bytes_max = 0;
        }
        self.bytes += bytes;
        self.bytes_max = self.bytes_max.max(bytes);
    }

    fn answered(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.heard = Instant::now();
    }

    /// How long the broker may take to give a channel. The client asks for it behind the message that it
    /// is writing, and before all others.
    fn patience(&self) -> Duration {
        /// Longer than a broker that is well takes.
        const ANSWER_LIMIT: Duration = Duration::from_secs(15);
        /// In bytes a second: what slower lines carry is cut off.
        const SLOWEST_LINE: u64 = 64 * 1024;
        /// What the client and the operating system hold that was not sent: 4 MiB each.
        const BUFFERED_MAX: u64 = 8 * 1024 * 1024;
        let before_it = self.bytes.min(self.bytes_max.saturating_add(BUFFERED_MAX));
        ANSWER_LIMIT + Duration::from_secs(before_it / SLOWEST_LINE)
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

async fn watch(session: Session, silence: Arc<Silence>) {
    /// Longer than most silences of a broker that is well.
    const SILENCE_LIMIT: Duration = Duration::from_secs(5);
    loop {
        tokio::select! {
            biased;
            () = session.ended() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if session.is_blocked() {
            silence.end();
        } else if silence.lasts(SILENCE_LIMIT) {
            tokio::select! {
                biased;
                // Who is given none because there are no more was answered, too.
                _ = session.channel() => silence.end(),
                () = loses_patience(&session, &silence) => {
                    tracing::warn!("the broker reads nothing: the connection is made again");
                    return session.close().await;
                }
            }
        }
    }
}

/// Ends when nothing was answered for too long, without the time in which the broker says itself that it
/// takes nothing.
async fn loses_patience(session: &Session, silence: &Silence) {
    let mut began = Instant::now();
    let mut patience = silence.0.lock().patience();
    while began.elapsed() < patience {
        tokio::time::sleep(LOOK_EVERY).await;
        let state = silence.0.lock();
        if session.is_blocked() || state.heard > began {
            began = Instant::now();
            patience = state.patience();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn patience(messages: &[u64]) -> u64 {
        let mut state = State { bytes: 0, bytes_max: 0, heard: Instant::now() };
        messages.iter().for_each(|bytes| state.handed(*bytes));
        state.patience().as_secs()
    }

    #[test]
    fn a_slow_line_has_the_time_that_it_needs_for_what_is_written_before_the_question() {
        assert_eq!(patience(&[1000]), 15);
        assert_eq!(patience(&[2 * MIB]), 15 + 32);
        // One of them is being written, some are in buffers, and the others wait behind the question.
        assert_eq!(patience(&[MIB; 100]), 15 + 9 * 16);
    }

    #[test]
    fn what_was_answered_takes_no_time() {
        let mut state = State { bytes: 0, bytes_max: 0, heard: Instant::now() };
        state.handed(20 * MIB);
        state.answered(20 * MIB);
        state.handed(1000);
        assert_eq!(state.patience().as_secs(), 15);
    }
}
