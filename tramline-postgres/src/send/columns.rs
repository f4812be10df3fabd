//! Messages as the arguments of one call that writes them all.

use crate::queue::{Parcel, Queue};
use tramline_core::clock::Timestamp;

/// The columns of rows to be written. A message that goes to several queues stands in several rows.
#[derive(Default)]
pub(crate) struct Columns<'p> {
    pub(crate) queues: Vec<i32>,
    pub(crate) ranks: Vec<i32>,
    pub(crate) lanes: Vec<Option<&'p str>>,
    pub(crate) dues: Vec<Option<i64>>,
    pub(crate) expires: Vec<Option<i64>>,
    pub(crate) keys: Vec<Option<&'p str>>,
    pub(crate) envelopes: Vec<&'p str>,
    pub(crate) bodies: Vec<&'p [u8]>,
}

impl<'p> Columns<'p> {
    /// Writes them: false if the routes are old.
    pub(crate) const SQL: &'static str =
        "SELECT tramline.put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

    pub(crate) fn add(&mut self, parcel: &'p Parcel, queue: &Queue) {
        let envelope = &parcel.envelope;
        let key = envelope.key.as_deref();
        self.queues.push(queue.id);
        self.ranks.push(queue.rank(envelope));
        self.lanes.push(queue.lane(key));
        self.dues.push(parcel.due.map(Timestamp::as_micros));
        self.expires.push(envelope.expires_at.map(Timestamp::as_micros));
        self.keys.push(key);
        self.envelopes.push(&parcel.text);
        self.bodies.push(&envelope.body);
    }
}
