//! A message as it was taken, not yet decoded.

use bytes::Bytes;
use tokio_postgres::Row;
use tramline_core::clock::Timestamp;
use tramline_core::settlement::Marks;

/// A row of those that a claim answers.
pub(super) struct Taken {
    pub(super) place: i64,
    /// What the settlement names: raised when the message is somebody else's.
    pub(super) epoch: i32,
    pub(super) flags: i16,
    pub(super) failures: u32,
    /// This time included.
    pub(super) deliveries: u32,
    pub(super) marks: Marks,
    pub(super) history: Option<String>,
    pub(super) envelope: String,
    pub(super) body: Bytes,
}

impl Taken {
    /// The columns that [`read`](Self::read) reads, for `concat!`.
    pub(super) fn read(row: &Row) -> Self {
        let count = |column| row.get::<_, i32>(column).unsigned_abs();
        let unhandled_since: Option<i64> = row.get(6);
        Self {
            place: row.get(0),
            epoch: row.get(1),
            flags: row.get(2),
            failures: count(3),
            deliveries: count(4).saturating_add(1),
            marks: Marks {
                trials: count(5),
                unhandled_since: unhandled_since.map(Timestamp::from_micros),
            },
            history: row.get(7),
            envelope: row.get(8),
            body: Bytes::copy_from_slice(row.get(9)),
        }
    }
}
