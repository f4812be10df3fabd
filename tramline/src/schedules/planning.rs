//! What is asked for becomes a plan for the store.

use crate::{Failure, MessageId};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::store::{Change, Plan};

/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// When a schedule fires: at a moment, or after a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At a moment. More than a minute in the past is an error; by less, clocks may differ.
    At(Timestamp),
    /// So much later than now.
    After(Duration),
}

impl From<Timestamp> for When {
    fn from(moment: Timestamp) -> Self {
        Self::At(moment)
    }
}

impl From<Duration> for When {
    fn from(delay: Duration) -> Self {
        Self::After(delay)
    }
}

/// The name of a schedule, although it was cancelled: `bus.schedule(Anew("reminder:42"), …)` schedules anew where
/// the name alone is answered [`AlreadyCancelled`](super::Scheduled::AlreadyCancelled).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anew<N>(pub N);

/// The name of a schedule: a text of 1 to 255 bytes, or [`Anew`] with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleName {
    name: String,
    anew: bool,
}

impl<N: Into<String>> From<N> for ScheduleName {
    fn from(name: N) -> Self {
        Self { name: name.into(), anew: false }
    }
}

impl<N: Into<String>> From<Anew<N>> for ScheduleName {
    fn from(Anew(name): Anew<N>) -> Self {
        Self { name: name.into(), anew: true }
    }
}

/// The plan to send `draft` to `target`.
///
/// # Errors
/// A permanent failure: the message cannot be sent so, its time is past, or the name is not allowed.
pub(crate) fn plan<'a>(
    scope: &Scope,
    name: impl Into<ScheduleName>,
    when: impl Into<When>,
    draft: impl IntoDraft<'a>,
    target: Target,
) -> Result<Plan, Failure> {
    let ScheduleName { name, anew } = name.into();
    check_name(&name)?;
    let draft = match when.into() {
        When::At(moment) => draft.into_draft().at(moment),
        When::After(delay) => draft.into_draft().delay(delay),
    };
    let mut outgoing = scope.compose(draft, target)?;
    let now = scope.composer.clock.now();
    let due = outgoing.due.take().unwrap_or(now);
    let token = token(scope);
    if outgoing.envelope.id.is_none() {
        let id = MessageId::scheduled(&name, token, due);
        Arc::make_mut(&mut outgoing.envelope).id = Some(id);
    }
    Ok(Plan { name, now, change: Change::Put { token, due, outgoing, anew } })
}

/// The plan to cancel.
///
/// # Errors
/// A permanent failure: the name is not allowed.
pub(crate) fn cancellation(scope: &Scope, name: &str) -> Result<Plan, Failure> {
    check_name(name)?;
    Ok(Plan { name: name.to_owned(), now: scope.composer.clock.now(), change: Change::Cancel })
}

/// A token for something new.
pub(super) fn token(scope: &Scope) -> i64 {
    scope.composer.entropy.bits() as i64
}

pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains('\0') {
        return Ok(());
    }
    Err(Failure::permanent(format!(
        "failed to plan the schedule {name:?}: a name has 1 to {NAME_BYTES_MAX} bytes, and no NUL"
    )))
}
