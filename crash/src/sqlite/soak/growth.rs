//! What must not grow without end.
//!
//! A cache fills for a while and a backlog comes and goes; a leak never stops. So the least that
//! was seen in the last quarter is held against the most that was seen in the second: half of the
//! time for what fills, a quarter for what leaks.

use super::sample::{Line, Sample};
use std::time::Duration;

/// From this length of a soak on, growth and stalls are judged: in the few seconds of a shorter
/// one's quarters, what is only slow looks like what does not end.
pub(crate) const JUDGED_FROM: Duration = Duration::from_secs(120);

/// What caches and an allocator's leftovers may still take: in an hour under a hundred messages a
/// second, a leak of 50 bytes a delivery is more.
const RSS_SLACK_BYTES: u64 = 8 * 1024 * 1024;
/// Each of a process's readers has a few, and opens them when it is needed first.
const DESCRIPTORS_SLACK: u64 = 8;
/// Two messages of each key that waits for a retry.
const BACKLOG_SLACK: u64 = 200;

/// Of both files. Each begins anew at 1 MiB where it can, which is tried each 4 MiB; it cannot
/// while somebody is stopped in the middle of a read, a second or two.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

type Of = fn(&Sample) -> u64;

const WATCHED: [(&str, Of, u64); 5] = [
    ("memory of the oldest producer", |s| s.producers.oldest.rss_bytes, RSS_SLACK_BYTES),
    ("memory of the oldest consumer", |s| s.consumers.oldest.rss_bytes, RSS_SLACK_BYTES),
    ("descriptors of the oldest producer", |s| s.producers.oldest.descriptors, DESCRIPTORS_SLACK),
    ("descriptors of the oldest consumer", |s| s.consumers.oldest.descriptors, DESCRIPTORS_SLACK),
    ("the backlog", |s| s.backlog, BACKLOG_SLACK),
];

/// What has grown in a soak of this length, in words, and when nothing was handled although there
/// was something.
pub(crate) fn faults(length: Duration, samples: &[Sample], lines: &[Line]) -> Vec<String> {
    if length < JUDGED_FROM {
        return Vec::new();
    }
    let grown = WATCHED.iter().filter_map(|(what, of, slack)| {
        let series: Vec<u64> = samples.iter().map(of).collect();
        let (before, after) = growth(&series)?;
        let grew = after > before + slack;
        grew.then(|| format!("grows without end: {what}, from {before} to {after}"))
    });
    grown.chain(lines.windows(2).filter_map(|pair| stall(&pair[0], &pair[1]))).collect()
}

/// That the logs did not begin anew, if they grew to more than they may.
pub(crate) fn log_fault(bytes_max: u64) -> Option<String> {
    (bytes_max > LOG_BYTES_MAX).then(|| format!("the logs grew to {bytes_max} bytes"))
}

/// The most in the second quarter, and the least in the last.
pub(crate) fn growth(series: &[u64]) -> Option<(u64, u64)> {
    let quarter = series.len() / 4;
    let before = series.get(quarter..2 * quarter)?.iter().max()?;
    let after = series.get(series.len() - quarter..)?.iter().min()?;
    Some((*before, *after))
}

fn stall(before: &Line, now: &Line) -> Option<String> {
    let waited = before.sample.backlog > 0 && now.sample.backlog > 0;
    let from = before.sample.at;
    (waited && now.sample.handled == before.sample.handled)
        .then(|| format!("nothing was handled from {from:?} to {:?}", now.sample.at))
}

#[cfg(test)]
mod tests {
    use super::super::sample::Lateness;
    use super::*;

    fn line(at: u64, handled: u64, backlog: u64) -> Line {
        let at = Duration::from_secs(at);
        let sample = Sample { at, handled, backlog, ..Sample::default() };
        Line { sample, confirmed: 0, late: Lateness::default(), kills: 0, stops: 0 }
    }

    #[test]
    fn what_fills_in_the_first_half_or_comes_and_goes_is_no_growth() {
        let fills: Vec<u64> = (0..100u64).map(|at| at.min(49)).collect();
        assert_eq!(growth(&fills), Some((49, 49)));
        let waves: Vec<u64> = (0..100u64).map(|at| at % 10).collect();
        assert_eq!(growth(&waves), Some((9, 0)));
        assert_eq!(growth(&[1, 2, 3]), None);
    }

    #[test]
    fn a_leak_is_told_for_each_thing_that_is_watched() {
        for (what, _, slack) in WATCHED {
            let leaks = |at: u64| {
                let mut sample = Sample::default();
                for group in [&mut sample.producers, &mut sample.consumers] {
                    group.oldest.rss_bytes = at * RSS_SLACK_BYTES / 20;
                    group.oldest.descriptors = at / 2;
                }
                sample.backlog = at * 20;
                sample
            };
            let samples: Vec<Sample> = (0..100).map(leaks).collect();
            let text = faults(JUDGED_FROM, &samples, &[]).join("\n");
            assert!(text.contains(&format!("{what}, from")), "{slack}: {text}");
        }
    }

    #[test]
    fn logs_that_did_not_begin_anew_are_told() {
        assert_eq!(log_fault(LOG_BYTES_MAX), None);
        assert!(log_fault(LOG_BYTES_MAX + 1).is_some());
    }

    #[test]
    fn a_time_in_which_nothing_is_handled_is_told_if_something_was_there() {
        let told = |lines: &[Line]| faults(JUDGED_FROM, &[], lines).join("\n");
        assert_eq!(told(&[line(60, 5, 3), line(120, 6, 3), line(180, 6, 0)]), "");
        let text = told(&[line(60, 5, 3), line(120, 5, 4)]);
        assert_eq!(text, "nothing was handled from 60s to 120s");
    }

    #[test]
    fn a_soak_that_is_too_short_for_it_is_not_judged_by_growth() {
        let samples: Vec<Sample> =
            (0..100).map(|at| Sample { backlog: at * 20, ..Sample::default() }).collect();
        let lines = [line(1, 5, 3), line(2, 5, 4)];
        assert_eq!(faults(JUDGED_FROM, &samples, &lines).len(), 2);
        let too_short = JUDGED_FROM - Duration::from_secs(1);
        assert_eq!(faults(too_short, &samples, &lines), Vec::<String>::new());
    }
}
