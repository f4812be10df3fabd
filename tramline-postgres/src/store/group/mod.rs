//! Many units of work end together: one transaction, one commit.

mod attempt;
mod conclusion;
mod decision;
mod flight;
mod grouping;
mod groups;
mod shunned;
mod unit;

pub(crate) use grouping::Grouping;
pub(super) use unit::{Reply, Work};
