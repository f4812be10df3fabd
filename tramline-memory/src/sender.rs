//! Sends.

use crate::memory::Memory;
use crate::posting::{Origin, Posting};
use crate::shared::Shared;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::clock::Deadline;
use tramline_core::transport::{Outgoing, Sender, Sent};

/// Sends to the queues and topics of a [`Memory`].
#[derive(Clone, Debug)]
pub struct MemorySender {
    shared: Arc<Shared>,
}

impl MemorySender {
    pub(crate) fn new(memory: &Memory) -> Self {
        Self { shared: memory.shared.clone() }
    }
}

/// Waits for nothing but its turn among the tasks, so the deadline is met. A batch becomes visible as
/// a whole.
///
/// Who sends faster than others handle gives these their turn first: what waits is then soon gone
/// again, instead of filling the memory of the process.
impl Sender for MemorySender {
    async fn send(&self, batch: &[Outgoing], _deadline: Deadline) -> Vec<Sent> {
        // What never waits must not keep its thread from those who handle what it sends.
        tokio::task::coop::consume_budget().await;
        let shared = &*self.shared;
        let posting = Posting::new(shared, Origin::Sender);
        let messages: Vec<_> = batch.iter().map(|outgoing| posting.copies(outgoing)).collect();
        let mut is_ahead = false;
        let sent = shared.change(|state| {
            let answer = |(outgoing, copies): (_, Result<_>)| match copies
                .and_then(|copies| state.post(copies))
            {
                Ok(posted) => {
                    shared.accepted([outgoing]);
                    is_ahead |= posted.is_ahead;
                    Sent::Accepted { routed: Some(posted.routed) }
                }
                Err(error) => Sent::Refused(error),
            };
            batch.iter().zip(messages).map(answer).collect()
        });
        if is_ahead {
            tokio::task::yield_now().await;
        }
        sent
    }
}
