//! What a test has seen of the messages on a bus.

use parking_lot::Mutex;
use std::sync::Arc;
use tramline_core::Message;
use tramline_core::codec::Encoding;
use tramline_core::envelope::Envelope;
use tramline_core::transport::Outgoing;

/// Messages in the order in which they were seen. Clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    published: Vec<Arc<Envelope>>,
    handled: Vec<Arc<Envelope>>,
}

impl Witness {
    /// A message was accepted. Copies that the engine makes are no messages of their own.
    pub(crate) fn saw_accepted(&self, outgoing: &Outgoing) {
        if outgoing.copy.is_none() {
            self.0.lock().published.push(outgoing.envelope.clone());
        }
    }

    pub(crate) fn saw_handled(&self, envelope: &Arc<Envelope>) {
        self.0.lock().handled.push(envelope.clone());
    }

    /// How much was published and handled so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let seen = self.0.lock();
        (seen.published.len(), seen.handled.len())
    }

    pub(crate) fn published<M: Message>(&self) -> Vec<Arc<Envelope>> {
        named::<M>(&self.0.lock().published)
    }

    pub(crate) fn handled<M: Message>(&self) -> Vec<Arc<Envelope>> {
        named::<M>(&self.0.lock().handled)
    }
}

fn named<M: Message>(envelopes: &[Arc<Envelope>]) -> Vec<Arc<Envelope>> {
    envelopes.iter().filter(|envelope| envelope.name.as_deref() == Some(M::NAME)).cloned().collect()
}

/// The messages in `envelopes`.
///
/// # Panics
/// A body is not one of `M`: the test asks for another layout than was sent.
pub(crate) fn decoded<M: Message>(envelopes: &[Arc<Envelope>], encoding: &Encoding) -> Vec<M> {
    let decode = |envelope: &Arc<Envelope>| match encoding.decode(&envelope.body) {
        Ok(message) => message,
        Err(failure) => panic!("{failure}"),
    };
    envelopes.iter().map(decode).collect()
}
