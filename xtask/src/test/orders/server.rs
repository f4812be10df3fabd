//! A server for one run of the order service.

use crate::test::outcome::Outcome;
use crate::test::servers::{self, Started};
use tramline_services::Error;

/// Starts a server of this kind, and removes it after `run`.
pub(super) fn started(kind: &str, run: impl FnOnce(&Started) -> Outcome) -> Outcome {
    match servers::start(kind, "orders") {
        Ok(server) => run(&server),
        Err(Error::Absent { why, .. }) => Outcome::skipped(why),
        Err(Error::Failed(what)) => Outcome::of_one(Err(what)),
    }
}
