//! Who is told of failures and dead letters.

use crate::caught::caught;
use crate::{BoxFuture, Failure, MessageId};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueName;

/// One failed run of a handler.
#[derive(Debug)]
pub struct FailureReport<'a> {
    /// The endpoint.
    pub endpoint: &'a str,
    /// The message; of a batch, the one that was alone when it failed.
    pub id: &'a MessageId,
    /// Its name.
    pub name: Option<&'a str>,
    /// Which run failed, from 1.
    pub attempt: u32,
    /// Why.
    pub failure: &'a Failure,
}

/// A message that is now in a dead-letter queue.
#[derive(Clone, Debug)]
pub struct DeadLetterReport {
    /// The endpoint that gave up.
    pub endpoint: Arc<str>,
    /// Its queue.
    pub queue: QueueName,
    /// The message.
    pub envelope: Arc<Envelope>,
    /// Why it died.
    pub reason: Reason,
    /// How often handling it failed.
    pub failures: u32,
    /// The last error.
    pub error: Option<String>,
}

type OnHandled = Arc<dyn Fn(&QueueName, &Arc<Envelope>) + Send + Sync>;
type OnFailure = Arc<dyn Fn(&FailureReport<'_>) + Send + Sync>;
type OnDeadLetter = Arc<dyn Fn(DeadLetterReport) -> BoxFuture<'static, ()> + Send + Sync>;

/// The callbacks of an endpoint, the bus's own first.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    on_handled: Vec<OnHandled>,
    on_failure: Vec<OnFailure>,
    on_dead_letter: Vec<OnDeadLetter>,
}

impl Hooks {
    /// Tests are told of every message that was handled.
    #[cfg(feature = "testing")]
    pub(crate) fn on_handled(
        &mut self,
        hook: impl Fn(&QueueName, &Arc<Envelope>) + Send + Sync + 'static,
    ) {
        self.on_handled.push(Arc::new(hook));
    }

    pub(crate) fn on_failure(&mut self, hook: impl Fn(&FailureReport<'_>) + Send + Sync + 'static) {
        self.on_failure.push(Arc::new(hook));
    }

    pub(crate) fn on_dead_letter<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        hook: impl Fn(DeadLetterReport) -> F + Send + Sync + 'static,
    ) {
        self.on_dead_letter.push(Arc::new(move |report| Box::pin(hook(report))));
    }

    /// These hooks, then those of `inner`.
    pub(crate) fn and(&self, inner: &Self) -> Self {
        let mut both = self.clone();
        both.on_handled.extend(inner.on_handled.iter().cloned());
        both.on_failure.extend(inner.on_failure.iter().cloned());
        both.on_dead_letter.extend(inner.on_dead_letter.iter().cloned());
        both
    }

    /// Whether anybody is told of dead letters.
    pub(crate) fn tells_of_dead_letters(&self) -> bool {
        !self.on_dead_letter.is_empty()
    }

    /// The handler has succeeded, and its transaction, if it has one, is committed.
    pub(crate) fn handled(&self, queue: &QueueName, envelope: &Arc<Envelope>) {
        self.on_handled.iter().for_each(|hook| hook(queue, envelope));
    }

    /// Logs, then tells. A hook that panics is logged and harms nobody else.
    pub(crate) fn failed(&self, report: &FailureReport<'_>) {
        let FailureReport { endpoint, id, attempt, failure, .. } = report;
        tracing::warn!(endpoint, %id, attempt, error = %failure, "handling failed");
        for hook in &self.on_failure {
            if catch_unwind(AssertUnwindSafe(|| hook(report))).is_err() {
                tracing::error!(endpoint, "the error callback panicked");
            }
        }
    }

    /// Logs, then tells; called once the dead letter is safe. Not durable: a process that dies
    /// in between has told nobody, and the dead letter is there all the same.
    pub(crate) async fn dead_letter(&self, report: DeadLetterReport) {
        let DeadLetterReport { endpoint, envelope, reason, failures, error, .. } = &report;
        let (id, error) = (envelope.id.as_ref().map(ToString::to_string), error.as_deref());
        tracing::error!(endpoint = &**endpoint, id, %reason, failures, error, "dead-lettered");
        metrics::counter!(
            "tramline_dead_lettered_total",
            "endpoint" => endpoint.to_string(), "reason" => reason.to_string()
        )
        .increment(1);
        for hook in &self.on_dead_letter {
            let told = caught(async {
                hook(report.clone()).await;
                Ok(())
            });
            if let Err(panic) = told.await {
                tracing::error!(endpoint = &*report.endpoint, %panic, "a dead-letter hook failed");
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failures, dead) = (self.on_failure.len(), self.on_dead_letter.len());
        write!(f, "Hooks({failures} for failures, {dead} for dead letters)")
    }
}
