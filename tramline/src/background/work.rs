//! What is done with an item.

use crate::Cancel;
use crate::Failure;
use crate::caught::{drop_caught, panic_words};
use crate::handler::IntoOutcome;
use crate::pipeline::Outcome;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::Clock;

/// An async function of an item and a [`Cancel`], which answers `()` or a `Result<(), E>`.
///
/// [`Cancel`] ends when the work is in vain: it has failed or is over its time limit, or the queue stops
/// and its limit is over. Its future is dropped then as well; this is for what it has spawned.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not do the work of a background queue of `{T}`",
    note = "write `async fn(item: T, cancel: Cancel) -> Result<(), Failure>`; what lives across an \
            `.await` must be `Send`"
)]
pub trait Work<T>: Send + Sync {
    /// Does the work on `item`.
    fn run(&self, item: T, cancel: Cancel) -> impl Future<Output = Outcome> + Send;
}

impl<T, F, Fut> Work<T> for F
where
    T: Send,
    F: Fn(T, Cancel) -> Fut + Send + Sync,
    Fut: Future<Output: IntoOutcome> + Send,
{
    async fn run(&self, item: T, cancel: Cancel) -> Outcome {
        self(item, cancel).await.into_outcome()
    }
}

/// How the work on an item ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Done,
    Failed(Failure),
    Panicked(String),
    /// It was not done within this time.
    TimedOut(Duration),
    /// The queue was stopped, and its limit over.
    CutShort,
}

impl Ended {
    fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self::Panicked(panic_words(payload))
    }

    /// Says in the log what was not done.
    pub(crate) fn tell(self, queue: &str) {
        // An error's text is the user's code, and so is what is done when it is dropped.
        let told = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Done => {}
            Self::Failed(failure) => tracing::error!(queue, %failure, "background work failed"),
            Self::Panicked(text) => tracing::error!(queue, text, "background work panicked"),
            Self::TimedOut(limit) => {
                tracing::error!(queue, ?limit, "background work was over its time limit");
            }
            Self::CutShort => tracing::warn!(queue, "background work was cut short by a stop"),
        }));
        if let Err(payload) = told {
            drop_caught(payload);
            tracing::error!(queue, "background work failed, with an error that panics");
        }
    }
}

/// Does the work on `item`, whatever it does: a failure, a panic and a limit are answers.
pub(crate) async fn run<T>(
    work: &impl Work<T>,
    item: T,
    time_limit: Option<Duration>,
    clock: &dyn Clock,
    killed: &CancellationToken,
) -> Ended {
    let token = CancellationToken::new();
    let cancel = Cancel::of(token.clone());
    // Whoever drops this whole call cuts the work short.
    let in_vain = token.drop_guard();
    // In blocks of their own, so that a panic is caught before the first await, too, and while what is over
    // is dropped.
    let work = async move { work.run(item, cancel).await };
    let limited = async move {
        // Work that uses up what tokio grants a task at once must not starve it.
        let late = unconstrained(async {
            match time_limit {
                Some(limit) => {
                    clock.sleep_until(clock.now().after(limit)).await;
                    limit
                }
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            biased;
            outcome = work => outcome.map_or_else(Ended::Failed, |()| Ended::Done),
            limit = late => Ended::TimedOut(limit),
            () = killed.cancelled() => Ended::CutShort,
        }
    };
    let ended = AssertUnwindSafe(limited).catch_unwind().await.unwrap_or_else(Ended::panicked);
    if matches!(ended, Ended::Done) {
        in_vain.disarm();
    }
    ended
}
