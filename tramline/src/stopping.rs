//! That a bus stops, and why if nobody has asked for it.

use crate::Failure;
use std::sync::{Arc, OnceLock};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tramline_core::{Error, ErrorKind, Result};

/// The stop of one bus: nothing new is taken, pauses end. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    begun: CancellationToken,
    /// The first error that said that this program is outdated.
    outdated: OnceLock<Error>,
}

impl Stopping {
    /// From now on the bus stops.
    pub(crate) fn begin(&self) {
        self.0.begun.cancel();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun.is_cancelled()
    }

    /// Ends when the bus stops. Cancel-safe.
    pub(crate) fn begun(&self) -> WaitForCancellationFuture<'_> {
        self.0.begun.cancelled()
    }

    /// Why the bus stops although nobody asked for it.
    pub(crate) fn why(&self) -> Option<&Error> {
        self.0.outdated.get()
    }

    /// Stops the bus if `error` says that this program is outdated: it would fail for ever, and
    /// must not look as if it was at work. Answers whether that is so.
    pub(crate) fn heed(&self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Outdated {
            return false;
        }
        if self.0.outdated.set(error.clone()).is_ok() {
            tracing::error!(%error, "the bus stops: this program is outdated");
            self.begin();
        }
        true
    }

    /// As [`heed`](Self::heed), of whatever made a handler fail. Its message is innocent.
    pub(crate) fn heed_failure(&self, failure: &Failure) -> bool {
        failure.outdated().is_some_and(|error| self.heed(&error))
    }

    /// Heeds what a call outside of handlers was answered.
    pub(crate) fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| {
            self.heed(error);
        })
    }
}
