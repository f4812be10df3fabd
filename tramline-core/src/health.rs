//! How a transport is connected, for health checks.

use crate::clock::Timestamp;
use std::fmt;

/// How a transport is connected at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Everything works, as far as the transport knows. What has no connection is always so until
    /// it is closed.
    #[default]
    Connected,
    /// The broker takes nothing for now, as when it runs out of memory; it still delivers. Senders
    /// wait.
    Blocked {
        /// Since when.
        since: Timestamp,
        /// What the broker says why.
        reason: String,
    },
    /// The connection is lost, and made again as soon as that is possible. Senders and receivers
    /// wait.
    Reconnecting {
        /// Since when.
        since: Timestamp,
        /// Why the last attempt failed, or the connection ended.
        error: String,
    },
    /// It was closed, and is of no use any more.
    Closed,
}

impl Health {
    /// Whether messages can be sent and received.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// Words for a person: `reconnecting: connection refused`.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Blocked { reason, .. } => write!(f, "blocked: {reason}"),
            Self::Reconnecting { error, .. } => write!(f, "reconnecting: {error}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}
