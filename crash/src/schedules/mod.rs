//! Schedules on one database, which several processes share and are killed with: of SQLite and of PostgreSQL.
//!
//! 1. `course`: a case from its first process to the count
//! 2. `planner`: a process that schedules, cancels and fires, and tells `stories`; `pauses`: what one of them does
//!    besides
//! 3. `message`: what leaves; `service`: who handles it, with `planned`, which plans in transactions; `ground`: on
//!    which database
//! 4. `notes`: what the processes have written down; `evidence`: what is found in the end
//! 5. `judge`: what must hold of what was named; `rhythm`: and of what recurs
//! 6. `planted`: bugs that must be found

mod course;
mod evidence;
mod ground;
mod judge;
mod message;
mod notes;
mod pauses;
mod planned;
mod planner;
mod planted;
mod rhythm;
mod service;
mod stories;

pub(crate) use course::Course;
pub(crate) use ground::Ground;
pub(crate) use planner::Planner;
pub(crate) use planted::Bug;
