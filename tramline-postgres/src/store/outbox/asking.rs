//! A claim whose answer is lost may have been made, and its rows would wait for the end of a lease.

use crate::open::Core;
use parking_lot::Mutex;

/// The leases of which this process does not know whether it has them. Its next claim ends them.
#[derive(Default)]
pub(crate) struct Unknown(Mutex<Vec<i64>>);

/// As many are remembered: those before them have ended by themselves meanwhile.
const UNKNOWN_MAX: usize = 1000;

/// A claim that is under way. Dropped before it was [`answered`](Self::answered), its lease is unknown, and so are
/// those still that it was to end.
pub(super) struct Asking<'c> {
    core: &'c Core,
    lease: Option<i64>,
    ends: Vec<i64>,
}

impl<'c> Asking<'c> {
    /// A claim by this lease is about to be made.
    pub(super) fn of(core: &'c Core, lease: i64) -> Self {
        let ends = std::mem::take(&mut *core.unknown.0.lock());
        Self { core, lease: Some(lease), ends }
    }

    /// The leases that it ends.
    pub(super) fn unknown(&self) -> &Vec<i64> {
        &self.ends
    }

    /// The server has done it, and its rows are where they belong.
    pub(super) fn answered(mut self) {
        self.lease = None;
        self.ends.clear();
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut unknown = self.core.unknown.0.lock();
        unknown.extend(self.ends.drain(..).chain(self.lease));
        let surplus = unknown.len().saturating_sub(UNKNOWN_MAX);
        unknown.drain(..surplus);
    }
}
