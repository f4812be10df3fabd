//! Why a host has ended although nobody asked it to.

use super::host::HostStopped;
use crate::Failure;
use std::fmt;

/// A service has failed for good, or the host could not be run. Everything else was stopped then.
#[derive(Debug)]
pub struct HostError {
    /// The service that has failed; none if it was the host itself.
    pub service: Option<String>,
    /// Why.
    pub failure: Failure,
    /// What the stop of the others has left behind.
    pub stopped: HostStopped,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "the service `{service}` has failed: {}", self.failure),
            None => write!(f, "failed to run the host: {}", self.failure),
        }
    }
}

impl std::error::Error for HostError {}
