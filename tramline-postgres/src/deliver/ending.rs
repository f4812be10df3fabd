//! What becomes of a message that was taken, as the arguments of a call.

use super::held::Held;
use tokio::sync::oneshot;
use tramline_core::Result;
use tramline_core::rows::Charge;
use tramline_core::settlement::Settled;

/// A settlement on its way.
pub(crate) struct Ending {
    pub(super) held: Held,
    pub(super) how: How,
    pub(super) reply: oneshot::Sender<Result<Settled>>,
}

/// What becomes of a message.
pub(crate) enum How {
    Ack,
    Return,
    /// After so many microseconds.
    Retry(i64, Charge),
    Bury {
        name: String,
        reason: String,
        charge: Charge,
    },
}

impl Ending {
    pub(super) fn new(held: Held, how: How) -> (Self, oneshot::Receiver<Result<Settled>>) {
        let (reply, answer) = oneshot::channel();
        (Self { held, how, reply }, answer)
    }

    /// The slot is free before the answer is there.
    pub(super) fn answer(self, answer: Result<Settled>) {
        let Self { mut held, reply, .. } = self;
        if answer.is_ok() {
            held.settled();
        }
        drop(held);
        // Whoever settled may have gone; then nobody wants the answer.
        let _ = reply.send(answer);
    }
}
