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
    /// When a message expires is forgotten on its way.
    ForgetsExpiry,
    /// A message that has expired is acked instead of dead-lettered.
    AcksWhatHasExpired,
    /// A publish goes into one queue after the other, until one is full.
    PublishesQueueByQueue,
    /// What a full queue refuses is said to be accepted.
    ConfirmsWhatIsRefused,
    /// Nobody remembers what was sent before, although that was asked for.
    IgnoresTheWindow,
    /// A copy counts as sent before.
    DropsCopies,
    /// Redriven messages are taken from the dead letters before they are in their queue.
    RedrivesInTwoSteps,
    /// Whoever was tried once is never acquitted.
    AcquitsNobody,
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
