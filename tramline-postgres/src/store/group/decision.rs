//! What is done about what went wrong.

use super::attempt::At;
use crate::store::failure::is_the_servers;
use serde::Deserialize;

/// What an error of the server says about one unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It waited too long for a lock, or took too long.
    TooLong,
    /// A statement has to be prepared anew.
    Outdated,
    /// Somebody has changed the topology.
    Stale,
    /// Conditions did not hold.
    Refused,
    /// The server failed, and not what was asked of it.
    Servers,
    /// A statement is wrong.
    Statement,
    /// It has to be looked at in a transaction of its own.
    Unclear,
}

pub(super) fn cause(at: At, state: &str) -> Cause {
    match (at, state) {
        (_, "55P03" | "57014") => Cause::TooLong,
        (_, state) if is_the_servers(state) => Cause::Servers,
        // One by one, they tell.
        (At::Run { .. }, _) => Cause::Unclear,
        (_, "0A000" | "26000") => Cause::Outdated,
        // A type that was dropped and made anew is not found by what was prepared.
        (At::Statement { .. }, "XX000") => Cause::Outdated,
        (At::Conclude { .. } | At::Schedule { .. }, "TM002") => Cause::Refused,
        (At::Conclude { .. }, "TM003") => Cause::Stale,
        // Two who wait for each other; or something before it, and not the statement, had failed.
        (At::Statement { .. }, state) if state.starts_with("40") || state == "25P02" => {
            Cause::Unclear
        }
        (At::Statement { .. }, _) => Cause::Statement,
        _ => Cause::Unclear,
    }
}

/// The conditions that did not hold, in the words of `tramline.conclude` or `tramline.conclude_schedules`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    pub(super) lost: Vec<i32>,
    pub(super) known: Vec<i32>,
    pub(super) changed: Vec<i32>,
}

impl Detail {
    pub(super) fn read(detail: Option<&str>) -> Option<Self> {
        serde_json::from_str(detail?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_and_where_it_came_up_tell_the_cause() {
        let (statement, conclude) = (At::Statement { unit: 0, nth: 0 }, At::Conclude { unit: 0 });
        let run = At::Run { first: 0 };
        for (at, state, expected) in [
            (statement, "55P03", Cause::TooLong),
            (conclude, "55P03", Cause::TooLong),
            (statement, "57014", Cause::TooLong),
            (statement, "0A000", Cause::Outdated),
            (statement, "53100", Cause::Servers),
            (statement, "25006", Cause::Servers),
            // A table on a server elsewhere, a value with too few bytes, a sort that is too large.
            (statement, "08001", Cause::Statement),
            (statement, "08P01", Cause::Statement),
            (statement, "53400", Cause::Statement),
            (conclude, "53200", Cause::Unclear),
            (statement, "23505", Cause::Statement),
            (statement, "42P01", Cause::Statement),
            (statement, "40P01", Cause::Unclear),
            // A user's own function may raise anything.
            (statement, "TM002", Cause::Statement),
            (conclude, "TM002", Cause::Refused),
            (At::Schedule { unit: 0 }, "TM002", Cause::Refused),
            (At::Schedule { unit: 0 }, "TM001", Cause::Unclear),
            (conclude, "TM003", Cause::Stale),
            (conclude, "TM001", Cause::Unclear),
            (At::Commit, "23503", Cause::Unclear),
            (run, "57014", Cause::TooLong),
            (run, "23505", Cause::Unclear),
            (run, "0A000", Cause::Unclear),
            (run, "53100", Cause::Servers),
        ] {
            assert_eq!(cause(at, state), expected, "{at:?} {state}");
        }
    }
}
