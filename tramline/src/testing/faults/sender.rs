//! Sends that go wrong.

use super::call::{Call, Fault};
use super::faults::{Faults, failed, lost};
use tramline_core::clock::{Clock, Deadline};
use tramline_core::transport::{Outgoing, Sender, Sent};

/// The sender of a [`Faulty`](super::Faulty) transport.
#[derive(Debug)]
pub struct FaultySender<S> {
    pub(super) inner: S,
    pub(super) faults: Faults,
}

impl<S: Sender> Sender for FaultySender<S> {
    async fn send(&self, batch: &[Outgoing], deadline: Deadline) -> Vec<Sent> {
        let fault = self.faults.draw(Call::Send);
        tokio::task::yield_now().await;
        let sent = match fault {
            Some(Fault::Fail) => return refused(batch),
            Some(Fault::Astray) => return unknown(batch),
            Some(Fault::Delay(late)) => {
                let clock = self.faults.clock();
                let due = clock.now().after(late);
                clock.sleep_until(due.min(deadline.0)).await;
                if due > deadline.0 {
                    return unknown(batch);
                }
                self.inner.send(batch, deadline).await
            }
            Some(Fault::Twice) => {
                let _first = self.inner.send(batch, deadline).await;
                self.inner.send(batch, deadline).await
            }
            Some(Fault::Half) => {
                let mut sent = refused(batch);
                // The first is refused, so that what follows it could overtake it.
                for (outgoing, answer) in batch.iter().zip(&mut sent).skip(1).step_by(2) {
                    let one = self.inner.send(std::slice::from_ref(outgoing), deadline).await;
                    one.into_iter().for_each(|sent| *answer = sent);
                }
                sent
            }
            Some(Fault::Reorder) if has_no_order(batch) => {
                let mut sent = Vec::with_capacity(batch.len());
                for outgoing in batch.iter().rev() {
                    sent.extend(self.inner.send(std::slice::from_ref(outgoing), deadline).await);
                }
                sent.reverse();
                sent
            }
            _ => self.inner.send(batch, deadline).await,
        };
        tokio::task::yield_now().await;
        if fault == Some(Fault::Lose) { unknown(batch) } else { sent }
    }
}

fn refused(batch: &[Outgoing]) -> Vec<Sent> {
    batch.iter().map(|_| Sent::Refused(failed(Call::Send))).collect()
}

fn unknown(batch: &[Outgoing]) -> Vec<Sent> {
    batch.iter().map(|_| Sent::Unknown(lost(Call::Send))).collect()
}

/// Messages of one key keep their order in a batch; others may overtake each other.
fn has_no_order(batch: &[Outgoing]) -> bool {
    batch.iter().all(|outgoing| outgoing.envelope.key.is_none())
}
