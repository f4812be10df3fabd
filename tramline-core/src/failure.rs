//! What handler authors return when a message could not be handled.

use crate::BoxError;
use crate::cut::cut;
use crate::dead::Reason;
use crate::error::Outdated;
use crate::{Error as BusError, ErrorKind};
use std::{error::Error, fmt, iter};

/// Why a handler did not handle a message, and what that means for it.
///
/// Every error that implements [`std::error::Error`] becomes a *retryable* failure by `?`, because
/// trying again is the safe assumption. Say [`Failure::permanent`] when no retry can help: the
/// message goes to the dead-letter queue at once.
///
/// ```
/// use tramline_core::Failure;
///
/// fn charge(cents: i64) -> Result<(), Failure> {
///     if cents <= 0 {
///         return Err(Failure::permanent("nothing to charge"));
///     }
///     std::fs::read("/the/gateway/is/down")?; // retried
///     Ok(())
/// }
/// assert!(charge(0).unwrap_err().is_permanent());
/// assert!(!charge(1).unwrap_err().is_permanent());
/// ```
#[derive(Debug)]
pub struct Failure {
    verdict: Verdict,
    source: BoxError,
}

/// What a failure means for its message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Try again as the endpoint's retry policy says.
    Retry,
    /// To the dead-letter queue, for this reason.
    DeadLetter(Reason),
    /// Nobody here knows this type or version; a newer instance may. Retried without charge.
    Unhandled,
}

/// Why a request was rejected, in words for whoever has made it ([`Failure::rejected`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(String);

impl Failure {
    /// A failure that may go away: the message is retried by the endpoint's policy.
    pub fn retryable(source: impl Into<BoxError>) -> Self {
        Self { verdict: Verdict::Retry, source: source.into() }
    }

    /// A failure that no retry can mend: the message goes to the dead-letter queue.
    pub fn permanent(source: impl Into<BoxError>) -> Self {
        Self::dead_letter(Reason::Permanent, source)
    }

    /// A permanent failure whose words are meant for whoever has asked: a request's sender learns them, and
    /// nothing of any other failure.
    pub fn rejected(words: impl Into<String>) -> Self {
        Self::permanent(Rejected(words.into()))
    }

    /// A failure that sends the message to the dead-letter queue for `reason`.
    pub fn dead_letter(reason: Reason, source: impl Into<BoxError>) -> Self {
        Self { verdict: Verdict::DeadLetter(reason), source: source.into() }
    }

    /// Nobody here knows this message's type or version.
    pub fn unhandled(source: impl Into<BoxError>) -> Self {
        Self { verdict: Verdict::Unhandled, source: source.into() }
    }

    /// What this failure means for its message.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether no retry can help.
    pub fn is_permanent(&self) -> bool {
        matches!(self.verdict, Verdict::DeadLetter(_))
    }

    /// The error of type `E` in the chain of causes, if there is one. Retry policies by error use
    /// this.
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.causes().find_map(|error| error.downcast_ref())
    }

    /// Why this program is outdated, if that is why it failed ([`ErrorKind::Outdated`]). Found at any
    /// depth, as long as every error on the way answers what it comes of as its source; one that
    /// keeps only the text hides it.
    pub fn outdated(&self) -> Option<BusError> {
        let mut errors = self.causes().filter_map(|error| error.downcast_ref::<BusError>());
        let said = errors.find(|error| error.kind() == ErrorKind::Outdated).cloned();
        let hidden = || {
            self.find::<Outdated>()?;
            let error = BusError::new(ErrorKind::Outdated, "go on");
            Some(error.because(self.chain()))
        };
        said.or_else(hidden)
    }

    /// The error that it was made of.
    pub fn error(&self) -> &(dyn Error + 'static) {
        self.source.as_ref()
    }

    /// The error, and what it comes of.
    fn causes(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        iter::successors(Some(self.error()), |error| (*error).source())
    }

    /// What the error comes of.
    pub(crate) fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.causes().nth(1)
    }

    /// The whole chain of causes in one line, cut at 4 KiB.
    pub fn chain(&self) -> String {
        const CHAIN_BYTES_MAX: usize = 4 * 1024;
        let mut text = self.source.to_string();
        let mut next = self.source.source();
        while let Some(cause) = next {
            if text.len() > CHAIN_BYTES_MAX {
                break;
            }
            let cause_text = cause.to_string();
            // Many errors repeat their cause in their own text.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        cut(&mut text, CHAIN_BYTES_MAX);
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

/// `Failure` itself is no [`std::error::Error`]: that is what lets every error become one by `?`.
impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retryable(error)
    }
}

/// For `?` outside of handlers, in a `main` that answers any error.
impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        failure.chain().into()
    }
}

/// As above.
impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        failure.chain().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CommitError;

    #[test]
    fn a_chain_names_every_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let bus = BusError::new(ErrorKind::Unavailable, "send to queue payment").because(io);
        assert_eq!(Failure::from(bus).chain(), "failed to send to queue payment: disk on fire");
    }

    #[test]
    fn a_chain_is_cut_on_a_characters_edge() {
        let chain = Failure::retryable("ü".repeat(10_000)).chain();
        assert!(chain.len() <= 4096 && chain.ends_with("ü…"), "{} bytes", chain.len());
    }

    #[test]
    fn an_error_is_found_by_its_type_at_any_depth() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::num::ParseIntError);
        let failure = Failure::from(Outer("x".parse::<i32>().unwrap_err()));
        assert!(failure.find::<std::num::ParseIntError>().is_some());
        assert!(failure.find::<Outer>().is_some());
        assert!(failure.find::<std::fmt::Error>().is_none());
    }

    #[test]
    fn that_the_program_is_outdated_is_found_behind_all_that_keeps_its_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Transparent(#[from] BusError);
        let outdated = || BusError::new(ErrorKind::Outdated, "write").because("newer tables");
        fn around(source: impl Into<BoxError>) -> BusError {
            BusError::new(ErrorKind::Unavailable, "pay").because(source)
        }
        let behind: [Failure; 7] = [
            outdated().into(),
            Failure::permanent(outdated()),
            around(outdated()).into(),
            Transparent(outdated()).into(),
            around(Transparent(around(outdated()))).into(),
            CommitError::Store(outdated()).into(),
            CommitError::Handler(Transparent(outdated()).into()).into(),
        ];
        for failure in behind {
            let error = failure.outdated().unwrap_or_else(|| panic!("{failure:?}"));
            assert_eq!(error.kind(), ErrorKind::Outdated);
            assert!(error.to_string().contains("newer tables"), "{error}");
        }
        let other = BusError::new(ErrorKind::Conflict, "write").because("newer tables");
        for failure in [Transparent(other).into(), Failure::retryable(outdated().to_string())] {
            assert!(failure.outdated().is_none(), "{failure:?}");
        }
    }
}
