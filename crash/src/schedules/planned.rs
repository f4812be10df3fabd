//! A handler that schedules and cancels in its transaction, and writes down there what must come of it.

use super::ground::Ground;
use super::message::{Ask, Asked, Remind, Step, name, number};
use std::time::Duration;
use tramline::{Attempt, Failure, Planner, Tx};

/// A story: its handler has committed.
pub(super) const DONE: &str = "done";
/// A message that its handler has planned, and that must leave.
pub(super) const MUST: &str = "must";
/// … that must not.
pub(super) const NEVER: &str = "never";

pub(super) async fn plan<G: Ground>(
    ask: Ask,
    Attempt(run): Attempt,
    planner: Planner,
    mut tx: Tx<G>,
) -> Result<(), Failure> {
    let Ask { story, kind, millis } = ask;
    let name = name(story);
    let [one, two] = [Step::Asked, Step::AskedAgain].map(|step| number(story, step));
    let put =
        |number| planner.schedule(name.as_str(), Duration::from_millis(millis), &Remind { number });
    let (must, never) = match kind {
        Asked::Schedules => {
            put(one)?;
            (Some(one), None)
        }
        Asked::Replaces => {
            put(one)?;
            put(two)?;
            (Some(two), Some(one))
        }
        Asked::Cancels => {
            put(one)?;
            planner.cancel(&name)?;
            (None, Some(one))
        }
        Asked::Overtakes => {
            planner.cancel(&name)?;
            put(one)?;
            (None, Some(one))
        }
        Asked::FailsOnce if run == 1 => {
            put(one)?;
            return Err(Failure::retryable("not yet"));
        }
        Asked::FailsOnce => {
            put(two)?;
            (Some(two), Some(one))
        }
        Asked::Dies => {
            put(one)?;
            return Err(Failure::permanent("never"));
        }
        Asked::CancelsFar => {
            planner.cancel(&name)?;
            (None, None)
        }
    };
    for (what, number) in [(MUST, must), (NEVER, never), (DONE, Some(story))] {
        if let Some(number) = number {
            G::note(&mut tx, what, number).await?;
        }
    }
    Ok(())
}
