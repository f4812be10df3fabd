//! A message as it stands in the outbox.

use bytes::Bytes;
use std::sync::Arc;
use tokio_postgres::Row;
use tramline_core::Result;
use tramline_core::rows::{read_destination, read_envelope};
use tramline_core::transport::Outgoing;

/// What stands in a row, not yet decoded.
pub(super) struct Stored {
    pub(super) row: i64,
    pub(super) attempts: u32,
    pub(super) error: Option<String>,
    destination: String,
    envelope: String,
    body: Bytes,
}

/// What [`Stored::read`] reads, in its order. A literal, for `concat!`.
macro_rules! stored {
    () => {
        "id, attempts, error, destination, envelope, body"
    };
}
pub(super) use stored;

impl Stored {
    pub(super) fn read(row: &Row) -> Self {
        Self {
            row: row.get(0),
            attempts: row.get::<_, i32>(1).unsigned_abs(),
            error: row.get(2),
            destination: row.get(3),
            envelope: row.get(4),
            body: Bytes::copy_from_slice(row.get(5)),
        }
    }

    /// Its due time has come, and it leaves without one: not every broker knows delays.
    pub(super) fn open(self) -> Result<Outgoing> {
        let to = read_destination(&self.destination)?;
        let envelope = Arc::new(read_envelope(&self.envelope, self.body)?);
        Ok(Outgoing { to, envelope, due: None, copy: None })
    }
}
