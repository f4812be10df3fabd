//! What a batch handler answers for each message.

use crate::Failure;
use crate::handler::item::Item;
use std::collections::BTreeMap;

/// Which messages of a batch have failed, and how. The others have succeeded.
///
/// A message that has failed ends as if it had been alone: its own failure is charged to it and to nobody else, it is
/// retried or dead-lettered as that says, and what it has published by its [`Item`] does not leave. Those that have
/// succeeded are acked.
///
/// In a transactional endpoint nobody can tell whose writes are whose. So if any message has failed, the transaction
/// is rolled back, and the handler runs again with the others, at once and in a new transaction, until all that are
/// left succeed: what is committed was written by a run in which nobody failed. The handler's calls to the outside are
/// made again with it. Where most batches have a bad message, find it before the first such call.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tramline::{BatchOutcome, Endpoint, Failure, Item, Message};
///
/// #[derive(Serialize, Deserialize)]
/// struct Reading { celsius: f64 }
/// impl Message for Reading { const NAME: &'static str = "reading"; }
///
/// async fn keep(items: Vec<Item<Reading>>) -> BatchOutcome {
///     let mut outcome = BatchOutcome::ok();
///     for item in &items {
///         if item.message.celsius < -273.15 {
///             outcome.fail(item, Failure::permanent("colder than cold"));
///         }
///     }
///     outcome
/// }
/// let endpoint = Endpoint::new("readings").handle_batch(keep);
/// ```
///
/// Answers in the order in which the items came are collected into one; whoever has sorted them says
/// [`fail`](Self::fail), which knows its item:
///
/// ```
/// # use tramline::{BatchOutcome, Failure};
/// let answers = [Ok(()), Err(Failure::retryable("the index is busy"))];
/// let outcome: BatchOutcome = answers.into_iter().collect();
/// ```
#[derive(Debug, Default)]
#[must_use = "what has failed is known by what the handler answers"]
pub struct BatchOutcome {
    failures: BTreeMap<usize, Failure>,
    /// How many answers were collected.
    answers: Option<usize>,
}

impl BatchOutcome {
    /// All have succeeded, but for those that are said to have failed.
    pub fn ok() -> Self {
        Self::default()
    }

    /// Says that `item` has failed. The first failure of an item counts.
    pub fn fail<M>(&mut self, item: &Item<M>, failure: impl Into<Failure>) {
        self.failures.entry(item.index()).or_insert_with(|| failure.into());
    }

    /// The failures by the places of their messages in a batch of `len`.
    ///
    /// # Errors
    /// These are answers for another number of messages.
    pub(crate) fn failures(self, len: usize) -> Result<BTreeMap<usize, Failure>, Failure> {
        let is_of_others = self.failures.last_key_value().is_some_and(|(last, _)| *last >= len);
        match self.answers {
            Some(answers) if answers != len => Err(Failure::retryable(format!(
                "failed to part a batch of {len}: its handler has collected {answers} answers"
            ))),
            _ if is_of_others => Err(Failure::retryable(format!(
                "failed to part a batch of {len}: its handler has answered for an item of another"
            ))),
            _ => Ok(self.failures),
        }
    }
}

/// Answers in the order of the items, one for each: another number is a failure of the whole batch.
impl<E: Into<Failure>> FromIterator<Result<(), E>> for BatchOutcome {
    fn from_iter<I: IntoIterator<Item = Result<(), E>>>(answers: I) -> Self {
        let mut outcome = Self::ok();
        let mut count = 0;
        for (index, answer) in answers.into_iter().enumerate() {
            count = index + 1;
            if let Err(error) = answer {
                outcome.failures.insert(index, error.into());
            }
        }
        Self { answers: Some(count), ..outcome }
    }
}

/// What a batch handler may answer: `()`, a [`BatchOutcome`], or a `Result` of either, whose error is a failure of
/// the whole batch.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot answer `{Self}`",
    note = "answer `()`, `BatchOutcome`, or a `Result` of either whose error is `Failure` or any error"
)]
pub trait IntoBatchOutcome {
    /// The outcome.
    ///
    /// # Errors
    /// The whole batch has failed.
    fn into_batch_outcome(self) -> Result<BatchOutcome, Failure>;
}

impl IntoBatchOutcome for () {
    fn into_batch_outcome(self) -> Result<BatchOutcome, Failure> {
        Ok(BatchOutcome::ok())
    }
}

impl IntoBatchOutcome for BatchOutcome {
    fn into_batch_outcome(self) -> Result<BatchOutcome, Failure> {
        Ok(self)
    }
}

impl<T: IntoBatchOutcome, E: Into<Failure>> IntoBatchOutcome for Result<T, E> {
    fn into_batch_outcome(self) -> Result<BatchOutcome, Failure> {
        self.map_err(Into::into)?.into_batch_outcome()
    }
}
