//! A message as it is written down.

use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::rows::{Recorded, arriving, write_envelope};
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Result};

/// The largest body: a row in binary form, with all that is beside it, has to fit into 1 GB, and the
/// server holds it twice.
pub(crate) const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most bytes of headers.
pub(crate) const HEADER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A message that is ready to be written.
pub(crate) struct Parcel {
    pub(crate) to: Destination,
    pub(crate) envelope: Arc<Envelope>,
    /// The envelope without its body, as JSON.
    pub(crate) text: String,
    pub(crate) due: Option<Timestamp>,
    pub(crate) recorded: Recorded,
    is_copy: bool,
}

impl Parcel {
    /// Checks and encodes `outgoing`.
    ///
    /// # Errors
    /// It goes where PostgreSQL has nothing, is too large, or has a NUL where a text is kept.
    pub(crate) fn pack(outgoing: &Outgoing) -> Result<Self> {
        let Outgoing { to, envelope, due, copy } = outgoing;
        if let Destination::Foreign { .. } = to {
            return Err(Error::unsupported(&to.to_string(), "postgres"));
        }
        refuse_what_cannot_be_kept(to, envelope)?;
        let envelope = arriving(to, envelope);
        let text = write_envelope(&envelope)?;
        let recorded = copy.as_ref().map(Recorded::of_copy).transpose()?.unwrap_or_default();
        Ok(Self { to: to.clone(), envelope, text, due: *due, recorded, is_copy: copy.is_some() })
    }

    /// Whether a queue may refuse or drop it: copies and dead letters were let in before.
    pub(crate) fn is_judged(&self) -> bool {
        !self.is_copy && !self.is_dead()
    }

    /// Whether it goes to the dead letters of its queue.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.to, Destination::Queue(QueueRef::Dead(_)))
    }

    /// Whether anything is recorded about it beside the message.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// What it is known by: a sender's key `order-7` is not the id `order-7`.
    pub(crate) fn seen_as(&self) -> Option<String> {
        match (&self.envelope.idempotency_key, &self.envelope.id) {
            (Some(key), _) => Some(format!("key {key}")),
            (None, Some(id)) => Some(format!("id {id}")),
            (None, None) => None,
        }
    }
}

/// # Errors
/// It is too large for a row, or has a NUL where a text is kept.
pub(crate) fn refuse_what_cannot_be_kept(to: &Destination, envelope: &Envelope) -> Result<()> {
    let refused = |kind, why: String| Err(Error::new(kind, format!("send to {to}")).because(why));
    let (body_bytes, header_bytes) = (envelope.body.len() as u64, envelope.header_bytes() as u64);
    for (what, bytes, max) in
        [("body", body_bytes, BODY_BYTES_MAX), ("headers", header_bytes, HEADER_BYTES_MAX)]
    {
        if bytes > max {
            let why = format!("{bytes} bytes of {what} are more than {max}");
            return refused(ErrorKind::TooLarge, why);
        }
    }
    let texts = [("key", &envelope.key), ("idempotency key", &envelope.idempotency_key)];
    for (what, text) in texts {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            let why = format!("PostgreSQL keeps no text with a NUL in it, as its {what} is");
            return refused(ErrorKind::Refused, why);
        }
    }
    Ok(())
}
