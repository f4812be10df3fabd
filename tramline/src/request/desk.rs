//! Who waits for which reply.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;

/// The requests of one bus that have no reply yet, by the ids of their messages.
#[derive(Default)]
pub(super) struct Desk(Mutex<HashMap<MessageId, oneshot::Sender<Arc<Envelope>>>>);

/// A request that waits; dropped, it does not any more.
pub(super) struct Waiting<'a> {
    desk: &'a Desk,
    id: MessageId,
    reply: oneshot::Receiver<Arc<Envelope>>,
}

impl Desk {
    /// The reply to the request `id` is waited for from now on.
    pub(super) fn wait_for(&self, id: MessageId) -> Waiting<'_> {
        let (sender, reply) = oneshot::channel();
        self.0.lock().insert(id.clone(), sender);
        Waiting { desk: self, id, reply }
    }

    /// Hands a reply to whoever waits for it; a late one is dropped and counted.
    pub(super) fn deliver(&self, reply: &Arc<Envelope>) {
        let caused_by = reply.causation_id.clone();
        // Others know the business operation alone, which is the request's id unless somebody named it.
        let correlated = || reply.correlation_id.as_ref()?.parse().ok();
        let waiting = {
            let mut all = self.0.lock();
            let by =
                |id: Option<MessageId>, all: &mut HashMap<_, _>| id.and_then(|id| all.remove(&id));
            by(caused_by, &mut all).or_else(|| by(correlated(), &mut all))
        };
        if waiting.is_none_or(|waiting| waiting.send(reply.clone()).is_err()) {
            count_late();
        }
    }
}

/// A reply came when nobody waited for it any more.
pub(crate) fn count_late() {
    metrics::counter!("tramline_late_replies_total").increment(1);
}

impl Waiting<'_> {
    /// Ends with the reply. Cancel-safe.
    pub(super) async fn reply(&mut self) -> Arc<Envelope> {
        match (&mut self.reply).await {
            Ok(reply) => reply,
            // The desk is held by `self`, and keeps the sender until there is a reply.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.desk.0.lock().remove(&self.id);
    }
}
