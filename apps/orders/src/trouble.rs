//! Why the service cannot go on, and whose turn it is.

use std::fmt;
use std::process::ExitCode;
use tramline::{Error, ErrorKind, Failure, StartError};

/// A reason to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No other start helps until somebody changes the command line, what it names, or the
    /// program.
    Permanent(String),
    /// The run went wrong: nothing is lost, and it goes on when it is started again.
    Broken(String),
    /// A server was not reached, or was lost: it may be back any moment. Else as `Broken`.
    Away(String),
}

impl Trouble {
    pub(crate) fn permanent(text: impl fmt::Display) -> Self {
        Self::Permanent(text.to_string())
    }

    pub(crate) fn broken(text: impl fmt::Display) -> Self {
        Self::Broken(text.to_string())
    }

    /// Why bus or tables failed, which the parent had opened before. A file that is said to be
    /// wrong since then may be right at the next start: to a process that has too many files open,
    /// none can be opened.
    pub(crate) fn of(failure: impl Into<Failure>) -> Self {
        Self::permanent_if(failure.into(), |kind| {
            matches!(kind, ErrorKind::Outdated | ErrorKind::Unsupported)
        })
    }

    /// Why the parent, which is the first to open them, could not open bus or tables: those that
    /// the command line names may be wrong too.
    pub(crate) fn of_opening(failure: impl Into<Failure>) -> Self {
        Self::permanent_if(failure.into(), |kind| {
            matches!(
                kind,
                ErrorKind::Outdated
                    | ErrorKind::Unsupported
                    | ErrorKind::Misconfigured
                    | ErrorKind::Conflict
                    | ErrorKind::Corrupt
            )
        })
    }

    /// An error of no kind that is known here may pass.
    fn permanent_if(failure: Failure, is_permanent: fn(ErrorKind) -> bool) -> Self {
        let of_start = || failure.find::<StartError>().map(StartError::kind);
        let outdated = || failure.outdated().map(|error| error.kind());
        let of_call = || failure.find::<Error>().map(Error::kind);
        let kind = outdated().or_else(of_call).or_else(of_start);
        match kind {
            Some(kind) if is_permanent(kind) => Self::permanent(failure),
            Some(ErrorKind::Unavailable | ErrorKind::TimedOut) => Self::Away(failure.to_string()),
            _ => Self::broken(failure),
        }
    }

    /// What a process ends with that should not be started again as it is.
    pub(crate) const PERMANENT: u8 = 2;

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Broken(_) | Self::Away(_) => ExitCode::FAILURE,
            Self::Permanent(_) => ExitCode::from(Self::PERMANENT),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent(text) | Self::Broken(text) | Self::Away(text) => f.write_str(text),
        }
    }
}

/// What both answer. Of two troubles the first is the reason to end, unless only the second says
/// that another start cannot help; the other one may only follow from it, and is logged.
pub(crate) fn both<A, B>(
    first: Result<A, Trouble>,
    second: Result<B, Trouble>,
) -> Result<(A, B), Trouble> {
    match (first, second) {
        (Err(first), Err(second)) => {
            let (reason, other) = match (&first, &second) {
                (Trouble::Broken(_) | Trouble::Away(_), Trouble::Permanent(_)) => (second, first),
                _ => (first, second),
            };
            if reason != other {
                tracing::error!(trouble = %other, "more went wrong beside that");
            }
            Err(reason)
        }
        (first, second) => Ok((first?, second?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind::*;
    use tramline::{Bus, Endpoint, Memory};

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "open orders.db").because("it says so")
    }

    #[test]
    fn only_what_no_other_start_can_help_is_permanent() {
        let later = [Outdated, Unsupported];
        let at_first = [Outdated, Unsupported, Misconfigured, Conflict, Corrupt];
        for kind in [
            Unavailable,
            TimedOut,
            Refused,
            NotFound,
            Conflict,
            Outdated,
            Unsupported,
            Misconfigured,
            Corrupt,
            TooLarge,
            Full,
            Closed,
        ] {
            let text = Failure::from(error(kind)).chain();
            let expected = |permanent: &[ErrorKind]| match kind {
                kind if permanent.contains(&kind) => Trouble::permanent(&text),
                Unavailable | TimedOut => Trouble::Away(text.clone()),
                _ => Trouble::broken(&text),
            };
            assert_eq!(Trouble::of(error(kind)), expected(&later), "{kind:?}");
            assert_eq!(Trouble::of(Failure::from(error(kind))), expected(&later), "{kind:?}");
            assert_eq!(Trouble::of_opening(error(kind)), expected(&at_first), "{kind:?}");
        }
        let behind = Error::new(Unavailable, "pay").because(error(Outdated));
        assert!(matches!(Trouble::of(behind), Trouble::Permanent(_)));
        let unknown = || Failure::permanent("the disk is on fire");
        assert!(matches!(Trouble::of(unknown()), Trouble::Broken(_)));
        assert!(matches!(Trouble::of_opening(unknown()), Trouble::Broken(_)));
    }

    #[tokio::test]
    async fn a_bus_that_does_not_start_is_judged_by_its_kind_too() {
        let start = || Bus::builder(Memory::new()).endpoint(Endpoint::new("q")).start();
        let said = "failed to start the bus: endpoint q: it has no handler";
        let broken = Trouble::of(start().await.unwrap_err());
        assert_eq!(broken, Trouble::broken(said));
        let permanent = Trouble::of_opening(start().await.unwrap_err());
        assert_eq!(permanent, Trouble::permanent(said));
    }

    #[test]
    fn of_two_troubles_the_first_is_the_reason_unless_only_the_second_is_permanent() {
        let trouble = |text: &str| Trouble::broken(text);
        assert_eq!(both(Ok(1), Ok(2)), Ok((1, 2)));
        assert_eq!(both(Err::<(), _>(trouble("a")), Ok(2)), Err(trouble("a")));
        assert_eq!(both(Ok(1), Err::<(), _>(trouble("b"))), Err(trouble("b")));
        assert_eq!(both(Err::<(), _>(trouble("a")), Err::<(), _>(trouble("b"))), Err(trouble("a")));
        let permanent = || Trouble::permanent("b");
        assert_eq!(both(Err::<(), _>(trouble("a")), Err::<(), _>(permanent())), Err(permanent()));
        assert_eq!(both(Err::<(), _>(permanent()), Err::<(), _>(trouble("a"))), Err(permanent()));
    }
}
