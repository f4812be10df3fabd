//! A message as it is written down. Made on the caller's thread: the writer has enough to do.

use super::sql::DIRECT;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{History, Reason};
use tramline_core::envelope::{Envelope, Text, Via};
use tramline_core::name::QueueRef;
use tramline_core::settlement::Marks;
use tramline_core::transport::{CopyOf, Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Result};

/// The largest body: half of what SQLite keeps in one cell.
pub(crate) const BODY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The most bytes of headers.
pub(crate) const HEADER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A message that is ready to be written.
pub(crate) struct Parcel {
    pub(crate) to: Destination,
    pub(crate) envelope: Arc<Envelope>,
    /// The envelope without its body, as JSON.
    pub(crate) text: String,
    pub(crate) due: Option<Timestamp>,
    pub(crate) state: State,
    is_copy: bool,
}

/// What the bus has recorded about a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) flags: i64,
    pub(crate) failures: u32,
    pub(crate) marks: Marks,
    pub(crate) first_failed_at: Option<Timestamp>,
    pub(crate) history: Option<String>,
    pub(crate) reason: Option<Reason>,
}

impl Parcel {
    /// Checks and encodes `outgoing`.
    pub(crate) fn pack(outgoing: &Outgoing) -> Result<Self> {
        let Outgoing { to, envelope, due, copy } = outgoing;
        refuse_what_cannot_be_kept(to, envelope)?;
        let envelope = via_its_destination(to, envelope);
        let text = encode(&envelope)?;
        let state = copy.as_ref().map(State::of_copy).transpose()?.unwrap_or_default();
        Ok(Self { to: to.clone(), envelope, text, due: *due, state, is_copy: copy.is_some() })
    }

    /// Whether a queue may refuse or drop it: copies and dead letters were let in before.
    pub(crate) fn is_judged(&self) -> bool {
        !self.is_copy && !self.is_dead()
    }

    /// Whether it goes to the dead letters of its queue.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.to, Destination::Queue(QueueRef::Dead(_)))
    }
}

impl State {
    fn of_copy(copy: &CopyOf) -> Result<Self> {
        let (failures, history, marks, reason) = match copy {
            CopyOf::Retry { failures, history, marks } => (*failures, history, *marks, None),
            CopyOf::DeadLetter { reason, failures, history } => {
                (*failures, history, Marks::default(), Some(reason.clone()))
            }
            CopyOf::Redrive => return Ok(Self { flags: DIRECT, ..Self::default() }),
        };
        Ok(Self {
            flags: DIRECT,
            failures,
            marks,
            first_failed_at: history.notes().first().map(|note| note.at),
            history: encode_history(history)?,
            reason,
        })
    }
}

/// The envelope without its body, as JSON.
pub(crate) fn encode(envelope: &Envelope) -> Result<String> {
    serde_json::to_string(envelope)
        .map_err(|error| Error::new(ErrorKind::Refused, "write an envelope as JSON").because(error))
}

/// A history as JSON; nothing for an empty one.
pub(crate) fn encode_history(history: &History) -> Result<Option<String>> {
    if history.notes().is_empty() {
        return Ok(None);
    }
    serde_json::to_string(history)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Refused, "write a history as JSON").because(error))
}

/// An envelope says how it came: through the topic that it is sent to, or through none.
fn via_its_destination(to: &Destination, envelope: &Arc<Envelope>) -> Arc<Envelope> {
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
pub(crate) fn forget_via(envelope: &mut Envelope) {
    let via = envelope.via.take();
    if let (None, Some(via)) = (&envelope.name, via) {
        envelope.name = Some(Text::Owned(via.subject.to_string()));
    }
}

fn refuse_what_cannot_be_kept(to: &Destination, envelope: &Envelope) -> Result<()> {
    if let Destination::Foreign { .. } | Destination::Address(_) = to {
        return Err(Error::unsupported(&to.to_string(), "sqlite"));
    }
    let too_large = |what: &str, bytes: u64, max: u64| {
        Error::new(ErrorKind::TooLarge, format!("send to {to}"))
            .because(format!("{bytes} bytes of {what} are more than {max}"))
    };
    let body_bytes = envelope.body.len() as u64;
    if body_bytes > BODY_BYTES_MAX {
        return Err(too_large("body", body_bytes, BODY_BYTES_MAX));
    }
    let header_bytes = envelope.header_bytes() as u64;
    if header_bytes > HEADER_BYTES_MAX {
        return Err(too_large("headers", header_bytes, HEADER_BYTES_MAX));
    }
    Ok(())
}
