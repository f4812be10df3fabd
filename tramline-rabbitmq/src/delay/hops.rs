//! How headers lead a delayed message through its stages.
//!
//! A message that leaves a stage keeps its headers and its routing key, which is the name of the
//! queue that it is for. So there is an exchange before the first stage and one behind each level of
//! stages, and each of them reads a header of its own, which says where to go from there.

use super::plan::{Plan, Stage};
use crate::names::{DELAY, DUE};
use crate::wire::names::DELAY_PREFIX;
use std::{fmt, iter};

/// One hop of a delayed message: a header of it, and the binding that understands the header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hop {
    /// The exchange that reads the header.
    pub(crate) from: String,
    /// The header's name.
    pub(crate) header: String,
    /// What it says.
    pub(crate) value: String,
    /// Where the message goes then.
    pub(crate) to: HopTo,
}

/// Where a hop leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HopTo {
    /// Into a stage.
    Stage(Stage),
    /// Out of the last stage.
    Target(Target),
}

/// Where a delayed message goes when its delay is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// To the queue that its routing key names.
    Queue,
    /// Through this exchange, with its routing key.
    Exchange(String),
}

/// The hops of `plan`: one more than it has stages.
pub(crate) fn hops(plan: &Plan, target: &Target) -> Vec<Hop> {
    let stages = plan.stages().iter();
    let after = stages.clone().map(|stage| {
        let level = stage.level();
        (exchange_after(*stage), format!("{DELAY_PREFIX}_{level}"))
    });
    let froms = iter::once((DELAY.to_owned(), DELAY_PREFIX.to_owned())).chain(after);
    let tos = stages.map(|stage| HopTo::Stage(*stage)).chain([HopTo::Target(target.clone())]);
    let hop = |((from, header), to): (_, HopTo)| Hop { from, header, value: to.value(), to };
    froms.zip(tos).map(hop).collect()
}

/// The queue of a stage.
pub(crate) fn queue_of(stage: Stage) -> String {
    format!("{DELAY}.{stage}")
}

/// Where messages go from a stage.
pub(crate) fn exchange_after(stage: Stage) -> String {
    format!("{DELAY}.after-{}", stage.level())
}

impl HopTo {
    fn value(&self) -> String {
        match self {
            Self::Stage(stage) => stage.to_string(),
            Self::Target(Target::Queue) => "due".to_owned(),
            Self::Target(Target::Exchange(exchange)) => format!("due in {exchange}"),
        }
    }
}

/// As in errors.
impl fmt::Display for HopTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(stage) => write!(f, "queue `{}`", queue_of(*stage)),
            Self::Target(Target::Queue) => write!(f, "exchange `{DUE}`"),
            Self::Target(Target::Exchange(exchange)) => write!(f, "exchange `{exchange}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn told(plan: Option<Plan>, target: &Target) -> Vec<(String, String, String)> {
        let hops = hops(&plan.unwrap(), target).into_iter();
        hops.map(|Hop { from, header, value, .. }| (from, header, value)).collect()
    }

    fn three<const N: usize>(rows: [[&str; 3]; N]) -> Vec<(String, String, String)> {
        rows.map(|[a, b, c]| (a.to_owned(), b.to_owned(), c.to_owned())).into()
    }

    #[test]
    fn each_exchange_on_the_way_reads_a_header_of_its_own() {
        assert_eq!(
            told(Plan::scheduled(Duration::from_millis(30_250)), &Target::Queue),
            three([
                ["tramline.delay", "tramline_delay", "30s"],
                ["tramline.delay.after-10s", "tramline_delay_10s", "250ms"],
                ["tramline.delay.after-50ms", "tramline_delay_50ms", "due"],
            ])
        );
    }

    #[test]
    fn a_retry_takes_one_stage_and_a_delayed_event_ends_in_its_topic() {
        assert_eq!(
            told(Plan::retry(Duration::from_secs(11)), &Target::Exchange("orders".to_owned())),
            three([
                ["tramline.delay", "tramline_delay", "12s"],
                ["tramline.delay.after-10s", "tramline_delay_10s", "due in orders"],
            ])
        );
    }
}
