//! A message as it stands in the outbox.

use crate::error::failed;
use crate::writer::Work;
use bytes::Bytes;
use rusqlite::{Row, params};
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::rows::OUTBOX;
use tramline_core::rows::{read_destination, read_envelope, write_destination, write_envelope};
use tramline_core::transport::Outgoing;
use tramline_core::{Failure, Result};

/// What stands in a row, not yet decoded.
pub(super) struct Stored {
    pub(super) attempts: u32,
    destination: String,
    envelope: String,
    body: Bytes,
}

/// Where a message goes, as far as whoever appends it says. A literal, for `concat!`.
macro_rules! into_outbox {
    () => {
        "INSERT INTO tramline_outbox
             (key, hold_until, attempts, lease, lease_until, process, tried,
              destination, envelope, body) "
    };
}

/// What is written down for a message.
pub(in crate::store) struct Written<'a> {
    pub(in crate::store) key: Option<&'a str>,
    /// A message with a due time is held until then, so that brokers without delays can have it
    /// too; it holds nothing else of its key back.
    pub(in crate::store) hold_until: i64,
    pub(in crate::store) destination: String,
    pub(in crate::store) envelope: String,
    pub(in crate::store) body: &'a [u8],
}

impl<'a> Written<'a> {
    /// Binds the fields in their order.
    pub(in crate::store) const INSERT: &'static str =
        concat!(into_outbox!(), "VALUES (?1, ?2, 0, 0, 0, 0, 0, ?3, ?4, ?5)");

    /// As [`INSERT`](Self::INSERT), and does nothing to tables that are newer than the version that
    /// is bound last. Like every statement that writes, it has the file's write lock when it reads
    /// the version.
    #[cfg(feature = "sqlx")]
    pub(in crate::store) const INSERT_UNLESS_NEWER: &'static str = concat!(
        into_outbox!(),
        "SELECT ?1, ?2, 0, 0, 0, 0, 0, ?3, ?4, ?5
         WHERE (SELECT version FROM tramline_schema) <= ?6"
    );

    /// `outgoing`, written down.
    ///
    /// # Errors
    /// A permanent failure: it cannot be encoded.
    pub(in crate::store) fn of(outgoing: &'a Outgoing, now: Timestamp) -> Result<Self, Failure> {
        let Outgoing { to, envelope, due, .. } = outgoing;
        Ok(Self {
            key: envelope.key.as_deref(),
            hold_until: due.unwrap_or(now).as_micros(),
            destination: write_destination(to).map_err(Failure::permanent)?,
            envelope: write_envelope(envelope).map_err(Failure::permanent)?,
            body: &envelope.body[..],
        })
    }
}

/// Writes a message down inside a unit of work.
pub(in crate::store) fn append(work: &Work<'_>, outgoing: &Outgoing) -> Result<(), Failure> {
    let written = Written::of(outgoing, work.now())?;
    work.connection
        .prepare_cached(Written::INSERT)
        .and_then(|mut statement| {
            let Written { key, hold_until, destination, envelope, body } = written;
            statement.execute(params![key, hold_until, destination, envelope, body])
        })
        .map_err(|error| failed("append to the outbox", error))?;
    work.wake(OUTBOX);
    Ok(())
}

impl Stored {
    /// The four columns from `first` on: attempts, destination, envelope and body.
    pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            attempts: row.get(first)?,
            destination: row.get(first + 1)?,
            envelope: row.get(first + 2)?,
            body: Bytes::copy_from_slice(row.get_ref(first + 3)?.as_bytes()?),
        })
    }

    /// How large the body is.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Its due time has come, and it leaves without one: not every broker knows delays.
    pub(super) fn open(self) -> Result<Outgoing> {
        let to = read_destination(&self.destination)?;
        let envelope = Arc::new(read_envelope(&self.envelope, self.body)?);
        Ok(Outgoing { to, envelope, due: None, copy: None })
    }
}
