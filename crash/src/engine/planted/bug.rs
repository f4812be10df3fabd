//! Which bug.

/// What a transport, or the engine by it, does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A message is acked when it is delivered, before its transaction commits.
    AcksOnDelivery,
    /// A copy is said to be confirmed before it is sent, so that its original is acked too early.
    ConfirmsCopiesEarly,
    /// What it should return is acked, such as what was prefetched when a process stops.
    AcksWhatIsReturned,
    /// One wake-up of a receiver is lost.
    LosesAWakeUp,
}

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreBug {
    /// The inbox row is written by a transaction of its own, after that of the handler.
    AdmitsAfterwards,
    /// … before that of the handler.
    AdmitsBefore,
    /// The ack is a transaction of its own, before that of the handler.
    AcksBefore,
    /// A commit of which nobody heard the end is taken for done.
    TakesSilenceForDone,
}
