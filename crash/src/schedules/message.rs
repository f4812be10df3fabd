//! What leaves, and by which numbers it is known again.

use serde::{Deserialize, Serialize};
use tramline::Message;

/// What a named schedule sends.
#[derive(Serialize, Deserialize)]
pub(super) struct Remind {
    pub(super) number: u64,
}

impl Message for Remind {
    const NAME: &'static str = "order.remind";
}

/// What recurs.
#[derive(Serialize, Deserialize)]
pub(super) struct Tick {
    pub(super) name: String,
}

impl Message for Tick {
    const NAME: &'static str = "clock.tick";
}

/// Asks a handler to plan something in its transaction.
#[derive(Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) story: u64,
    pub(super) kind: Asked,
    /// After how many milliseconds it is due.
    pub(super) millis: u64,
}

impl Message for Ask {
    const NAME: &'static str = "order.ask";
}

/// What the handler is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asked {
    Schedules,
    /// Schedules, and once more under the same name.
    Replaces,
    /// Schedules and cancels.
    Cancels,
    /// Cancels, and then schedules.
    Overtakes,
    /// Schedules, and fails; the next run schedules something else.
    FailsOnce,
    /// Schedules, and fails for good.
    Dies,
    /// Cancels what was scheduled outside.
    CancelsFar,
}

impl Asked {
    pub(super) const ALL: [Self; 7] = [
        Self::Schedules,
        Self::Replaces,
        Self::Cancels,
        Self::Overtakes,
        Self::FailsOnce,
        Self::Dies,
        Self::CancelsFar,
    ];
}

/// What a story can send under its name.
#[derive(Clone, Copy)]
pub(super) enum Step {
    First,
    Second,
    /// From inside of a handler.
    Asked,
    AskedAgain,
}

/// The number of the message of this step.
pub(super) fn number(story: u64, step: Step) -> u64 {
    story * 4 + step as u64
}

/// Whose message it is.
pub(super) fn story_of(number: u64) -> u64 {
    number / 4
}

/// Whether a handler was to plan it.
pub(super) fn was_asked_for(number: u64) -> bool {
    number % 4 >= Step::Asked as u64
}

/// Under which all of a story is scheduled.
pub(super) fn name(story: u64) -> String {
    format!("story:{story}")
}

/// The story of this name.
pub(super) fn story_named(name: &str) -> Option<u64> {
    name.strip_prefix("story:")?.parse().ok()
}
