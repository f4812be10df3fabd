//! An envelope in a row: how it says that it came, and what becomes of one that cannot be read.

use crate::envelope::{Envelope, Text, Via};
use crate::transport::Destination;
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::sync::Arc;

/// An envelope as it arrives at `to`: it says how it came, through that topic or through none. Copied
/// only if it does not yet.
pub fn arriving(to: &Destination, envelope: &Arc<Envelope>) -> Arc<Envelope> {
    let fits = match (to, &envelope.via) {
        (Destination::Topic { name, subject }, Some(via)) => {
            via.topic == *name && via.subject == *subject
        }
        (Destination::Topic { .. }, None) => false,
        (_, via) => via.is_none(),
    };
    if fits {
        return envelope.clone();
    }
    let mut envelope = Envelope::clone(envelope);
    match to {
        Destination::Topic { name, subject } => {
            envelope.via = Some(Via { topic: name.clone(), subject: subject.clone() });
        }
        _ => forget_via(&mut envelope),
    }
    Arc::new(envelope)
}

/// It does not come through a topic any more. The subject of a message without a name is what its
/// handler was found by: it becomes the name.
pub fn forget_via(envelope: &mut Envelope) {
    let via = envelope.via.take();
    if let (None, Some(via)) = (&envelope.name, via) {
        envelope.name = Some(Text::Owned(via.subject.to_string()));
    }
}

/// The envelope without its body, as JSON.
///
/// # Errors
/// [`ErrorKind::Refused`]: it cannot be written as JSON.
pub fn write_envelope(envelope: &Envelope) -> Result<String> {
    serde_json::to_string(envelope)
        .map_err(|error| Error::new(ErrorKind::Refused, "write an envelope as JSON").because(error))
}

/// What [`write_envelope`] has written, with its body.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: it is something else. Then handle [`unreadable`] in its place.
pub fn read_envelope(text: &str, body: Bytes) -> Result<Envelope> {
    let envelope: Envelope = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "read an envelope").because(error))?;
    Ok(Envelope { body, ..envelope })
}

/// What stands for an envelope that cannot be read: it is of a type that no handler has. A newer process
/// may know it, and if none does, it is buried as unhandled. Without a name, the only handler of an
/// endpoint would get it.
pub fn unreadable(body: Bytes) -> Envelope {
    let name = Some(Text::Borrowed("unreadable envelope"));
    Envelope { name, version: u32::MAX, body, ..Envelope::default() }
}
