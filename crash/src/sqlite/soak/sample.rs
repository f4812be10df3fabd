//! What is seen at one moment.

use super::vitals::Vitals;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Looked at so often that every quarter of a soak has many.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Since the beginning of the soak.
    #[serde(serialize_with = "secs")]
    pub(crate) at: Duration,
    /// Effects in the queues' file.
    pub(crate) handled: u64,
    /// Of those, effects that were there before: of the endpoint alone that may handle twice.
    pub(crate) again: u64,
    /// In queues and neither handled nor dead.
    pub(crate) backlog: u64,
    pub(crate) producers: Group,
    pub(crate) consumers: Group,
    pub(crate) file_bytes: u64,
    /// Of both files.
    pub(crate) log_bytes: u64,
}

/// The processes of one role that are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    /// Of the one that has lived for longest.
    pub(crate) oldest: Vitals,
    /// The most of each figure.
    pub(crate) largest: Vitals,
}

/// What is printed now and then: a sample, and what happened since the line before.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    #[serde(flatten)]
    pub(crate) sample: Sample,
    pub(crate) confirmed: u64,
    pub(crate) late: Lateness,
    /// Since the beginning.
    pub(crate) kills: u64,
    pub(crate) stops: u64,
}

/// How long after it was sent, or due, a message was handled: of those that are not to fail, at the
/// endpoints that take whatever is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Lateness {
    #[serde(serialize_with = "secs")]
    pub(crate) p50: Duration,
    #[serde(serialize_with = "secs")]
    pub(crate) p99: Duration,
    #[serde(serialize_with = "secs")]
    pub(crate) max: Duration,
}

/// A time as programs read it best: in seconds.
pub(crate) fn secs<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

impl Lateness {
    /// Of as many messages as there are `micros`.
    pub(crate) fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |percent: usize| {
            let place = (micros.len() * percent).div_ceil(100).saturating_sub(1);
            Duration::from_micros(micros.get(place).copied().unwrap_or(0))
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_names_the_messages_in_the_middle_near_the_end_and_at_it() {
        let Lateness { p50, p99, max } = Lateness::of((1..=200).rev().collect());
        assert_eq!([p50, p99, max].map(|late| late.as_micros()), [100, 198, 200]);
        assert_eq!(Lateness::of(vec![7]), Lateness::of(vec![7, 7, 7]));
        assert_eq!(Lateness::of(Vec::new()), Lateness::default());
    }
}
