//! What became of a message.

use crate::queue::Queue;
use std::sync::Arc;
use tramline_core::name::QueueName;
use tramline_core::transport::{Destination, Sent};
use tramline_core::{Error, ErrorKind};

/// What became of a message.
#[derive(Clone, Debug)]
pub(crate) enum Placed {
    /// So many queues have it, or have had it.
    In(usize),
    /// This queue has no room. No queue has it.
    Full(QueueName),
    /// A newer program declared this queue. No queue has it.
    Unknown(Arc<Queue>),
    /// The queue that it names was not declared.
    NoSuchQueue,
}

impl Placed {
    /// As a sender answers it.
    pub(crate) fn sent(&self, to: &Destination) -> Sent {
        match self {
            Self::In(queues) => Sent::Accepted { routed: Some(*queues > 0) },
            no => Sent::Refused(no.error(to)),
        }
    }

    /// Why no queue has it.
    pub(crate) fn error(&self, to: &Destination) -> Error {
        let doing = format!("send to {to}");
        match self {
            Self::Full(queue) => Error::new(ErrorKind::Full, doing).because(format!(
                "queue {queue} is at its maximum length; there is room once some is handled"
            )),
            Self::Unknown(queue) => queue.unknown(doing),
            Self::In(_) | Self::NoSuchQueue => {
                Error::new(ErrorKind::NotFound, doing).because("no such queue was declared")
            }
        }
    }
}
