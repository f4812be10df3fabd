//! Which bug.

/// What the transport does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bug {
    /// A message is acked when it is delivered, before its handler has done anything
    AcksOnDelivery,
    /// A message is said to be accepted when it is handed over, before the broker confirms it
    ConfirmsEarly,
    /// A copy is said to be accepted before it is sent, so that its original is acked too early
    ConfirmsCopiesEarly,
    /// A message that comes again has another id, so that no inbox knows it
    ForgetsIds,
}

impl Bug {
    /// What [`Bug::name`] of one is read from on a command line.
    pub(crate) fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
