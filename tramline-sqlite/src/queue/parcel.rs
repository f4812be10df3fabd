//! A message as it is written down. Made on the caller's thread: the writer has enough to do.

use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::rows::{Recorded, arriving, write_envelope};
use tramline_core::transport::{Destination, Outgoing};
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
    pub(crate) state: Recorded,
    is_copy: bool,
}

impl Parcel {
    /// Checks and encodes `outgoing`.
    pub(crate) fn pack(outgoing: &Outgoing) -> Result<Self> {
        let Outgoing { to, envelope, due, copy } = outgoing;
        refuse_what_cannot_be_kept(to, envelope)?;
        let envelope = arriving(to, envelope);
        let text = write_envelope(&envelope)?;
        let state = copy.as_ref().map(Recorded::of_copy).transpose()?.unwrap_or_default();
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

fn refuse_what_cannot_be_kept(to: &Destination, envelope: &Envelope) -> Result<()> {
    if let Destination::Foreign { .. } = to {
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
