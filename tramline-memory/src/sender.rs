//! Sends.

use crate::memory::Memory;
use crate::posting::{Origin, Posting};
use crate::shared::Shared;
use std::sync::Arc;
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

/// Never waits, so the deadline is always met. A batch becomes visible as a whole.
impl Sender for MemorySender {
    async fn send(&self, batch: &[Outgoing], _deadline: Deadline) -> Vec<Sent> {
        let shared = &*self.shared;
        let mut posting = Posting::new(shared, Origin::Sender);
        let answer = |outgoing| match posting.add(outgoing) {
            Ok(routed) => Sent::Accepted { routed: Some(routed) },
            Err(error) => Sent::Refused(error),
        };
        let sent: Vec<Sent> = batch.iter().map(answer).collect();
        let posts = posting.finish();
        shared.change(|state| {
            let answered = batch.iter().zip(&sent).filter(|(_, sent)| sent.is_accepted());
            shared.accepted(answered.map(|(outgoing, _)| outgoing));
            state.post(posts);
        });
        sent
    }
}
