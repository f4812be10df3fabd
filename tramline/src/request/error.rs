//! Why a request has no reply.

use super::fault::RemoteFailure;
use std::fmt;
use std::time::Duration;
use tramline_core::Error;

/// Why a request has no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not sent: nobody has begun with it.
    NotSent(Error),
    /// The bus ended while the request waited: it was drained, or this program is outdated. It may be handled
    /// nevertheless.
    Unanswered {
        /// The request's name.
        request: &'static str,
        /// Why the bus has ended.
        error: Error,
    },
    /// There was no reply in time. It may have been handled nevertheless, or still be.
    TimedOut {
        /// The request's name.
        request: &'static str,
        /// How long it has waited.
        after: Duration,
    },
    /// The responder has failed for good.
    Failed {
        /// The request's name.
        request: &'static str,
        /// What it has said.
        failure: RemoteFailure,
    },
    /// There was a reply that cannot be read as what was asked for.
    BadReply {
        /// The request's name.
        request: &'static str,
        /// Why.
        why: String,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => error.fmt(f),
            Self::Unanswered { request, error } => {
                write!(f, "the request {request} was given up while it waited: {error}")
            }
            Self::TimedOut { request, after } => {
                write!(f, "the request {request} had no reply within {after:?}")
            }
            Self::Failed { request, failure } => write!(f, "the request {request} {failure}"),
            Self::BadReply { request, why } => {
                write!(f, "the reply to the request {request} cannot be read: {why}")
            }
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotSent(error) | Self::Unanswered { error, .. } => Some(error),
            _ => None,
        }
    }
}
