//! Who waits for which reply.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
    /// The reply to the request `id` is waited for from now on; `None` if it is waited for already.
    pub(super) fn wait_for(&self, id: MessageId) -> Option<Waiting<'_>> {
        let (sender, reply) = oneshot::channel();
        match self.0.lock().entry(id.clone()) {
            Entry::Vacant(place) => place.insert(sender),
            Entry::Occupied(_) => return None,
        };
        Some(Waiting { desk: self, id, reply })
    }

    /// Hands a reply to whoever waits for it; a late one is dropped and counted.
    pub(super) fn deliver(&self, reply: &Arc<Envelope>) {
        // Clients of other kinds know the correlation id alone, which is the request's id unless somebody has
        // named the business operation. That may have other requests beside this one.
        let correlated = || reply.correlation_id.as_ref()?.parse().ok();
        let request = reply.causation_id.clone().or_else(correlated);
        let waiting = request.and_then(|id| self.0.lock().remove(&id));
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
