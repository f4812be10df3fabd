//! Many things are asked of the broker in few round trips, and whatever it refuses is told.

use super::differences::Difference;
use super::step::Step;
use crate::error::{self, kind};
use crate::link::Session;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};
use lapin::types::ShortString;
use std::time::Duration;
use tramline_core::{Error, ErrorKind, Result};

/// How many channels are opened at once.
const CHANNELS_MAX: usize = 16;

/// How long the broker may take to answer to one thing that it is asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What the broker refused, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) step: Step,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Said(lapin::Error),
    /// It did not answer in time.
    Silent,
}

impl Refusal {
    /// Why, in a sentence.
    pub(super) fn in_words(&self) -> String {
        let text = match &self.why {
            Why::Said(error) => error.to_string(),
            Why::Silent => {
                return format!(
                    "the broker did not answer within {ANSWER_LIMIT:?}; if it never does, the queue has \
                     no leader and has to be deleted, with what it holds"
                );
            }
        };
        Difference::read(&text).map_or(text, |difference| difference.in_words())
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match &self.why {
            Why::Said(error) => kind(error),
            Why::Silent => ErrorKind::Unavailable,
        }
    }
}

/// Asks for `steps` in their order.
///
/// # Errors
/// The connection is gone. The inner errors are answers: what was refused; everything behind it was
/// asked for nonetheless.
pub(super) async fn in_order(session: &Session, steps: &[Step]) -> Result<Vec<Refusal>> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let channel = session.channel().await?;
    // One after the other on the way, and no answer is waited for before the next is sent.
    if try_join_all(steps.iter().map(|step| step.ask(&channel))).await.is_ok() {
        return Ok(Vec::new());
    }
    // The first refusal closed the channel for all behind it. Now each is answered by itself.
    let mut refusals = Vec::new();
    for step in steps {
        refusals.extend(alone(session, step).await?.err());
    }
    Ok(refusals)
}

/// Asks for `steps` at the same time, each on a channel of its own: a new quorum queue takes the
/// broker long, and it makes those of one channel one after the other.
///
/// # Errors
/// As [`in_order`].
pub(super) async fn at_once(session: &Session, steps: &[Step]) -> Result<Vec<Refusal>> {
    let asked: Vec<_> = steps.iter().map(|step| alone(session, step)).collect();
    let answers: Vec<_> = stream::iter(asked).buffered(CHANNELS_MAX).collect().await;
    let mut refusals = Vec::new();
    for answer in answers {
        refusals.extend(answer?.err());
    }
    Ok(refusals)
}

/// Asks for one thing, for a while, no longer: a queue whose leader is gone for good answers nothing,
/// and must not keep the others from being there. The name is that of the queue, if it is about one.
///
/// # Errors
/// As [`in_order`].
pub(super) async fn alone(session: &Session, step: &Step) -> Result<Result<ShortString, Refusal>> {
    let channel = session.channel().await?;
    let refused = |why| Ok(Err(Refusal { step: step.clone(), why }));
    let Ok(answer) = tokio::time::timeout(ANSWER_LIMIT, step.ask(&channel)).await else {
        return refused(Why::Silent);
    };
    match answer {
        Ok(name) => {
            // Its last clone would close it too, but nobody would see when.
            if let Err(error) = channel.close(200, "done".into()).await {
                tracing::debug!(%error, "a channel ended before it was closed");
            }
            Ok(Ok(name))
        }
        Err(error) if kind(&error) == ErrorKind::Unavailable => {
            Err(error::failed(step.to_string(), error))
        }
        Err(error) => refused(Why::Said(error)),
    }
}

/// One error for everything that was refused, if anything was; `explain` may know more.
///
/// # Errors
/// Its kind is that of the first refusal, and all are told.
pub(super) fn all_granted(
    refusals: Vec<Refusal>,
    explain: impl Fn(&Refusal) -> Option<String>,
) -> Result<()> {
    let mut refusals = refusals.into_iter();
    let Some(first) = refusals.next() else { return Ok(()) };
    let words = |refusal: &Refusal| explain(refusal).unwrap_or_else(|| refusal.in_words());
    let more = refusals.map(|more| format!("; failed to {}: {}", more.step, words(&more)));
    let told = words(&first);
    let told = more.fold(told, |told, more| told + &more);
    let kind = first.kind();
    let advice = match (kind, &first.step) {
        (ErrorKind::Refused, step) => needs(step),
        (ErrorKind::Conflict, Step::Queue(_)) => {
            " (ask for what is there, use it as it is by the argument `declare=no`, or drain and \
             delete it)"
        }
        _ => "",
    };
    Err(Error::new(kind, first.step.to_string()).because(format!("{told}{advice}")))
}

/// Which permissions the broker asks for.
fn needs(step: &Step) -> &'static str {
    match step {
        Step::Queue(_) => {
            " (the user needs the permissions to configure it, to read from it, and to write to \
             `amq.default`, through which its dead letters go)"
        }
        Step::Exchange(_) => {
            " (the user needs the permissions to configure it, to read from it, and to write to \
             its alternate exchange, if it has one)"
        }
        Step::Bind(_) | Step::Unbind(_) => {
            " (the user needs the permissions to write to the queue and to read from the exchange)"
        }
        Step::BindExchange(_) => {
            " (the user needs the permissions to write to what is bound and to read from the \
             exchange that it is bound to)"
        }
    }
}
