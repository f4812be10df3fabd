//! Moments by the clock on a wall.

use jiff::tz::TimeZone;
use std::str::FromStr;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::{Error, ErrorKind, Result};

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub(super) struct Cron {
    // Large, and held beside what is small.
    pattern: Arc<croner::Cron>,
    zone: TimeZone,
}

impl Cron {
    /// Reads both.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: one is wrong, or the moment never comes.
    pub(super) fn parse(expression: &str, zone: &str, now: Timestamp) -> Result<Self> {
        let wrong =
            |what: String, why: String| Error::new(ErrorKind::Misconfigured, what).because(why);
        let pattern = croner::Cron::from_str(expression).map_err(|error| {
            wrong(format!("read the cron expression `{expression}`"), error.to_string())
        })?;
        let zone = TimeZone::get(zone)
            .map_err(|error| wrong(format!("find the time zone `{zone}`"), error.to_string()))?;
        let cron = Self { pattern: pattern.into(), zone };
        if cron.after(now).is_none() {
            let what = format!("plan by the cron expression `{expression}`");
            return Err(wrong(what, "no such moment ever comes".to_owned()));
        }
        Ok(cron)
    }

    /// The first moment behind `moment`, if there is one.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = jiff::Timestamp::from_microsecond(moment.as_micros()).ok()?;
        let next = self.pattern.find_next_occurrence(&moment.to_zoned(self.zone.clone()), false);
        Some(Timestamp::from_micros(next.ok()?.timestamp().as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    /// The moments after `from`, in UTC.
    fn moments(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(expression, zone, at(from)).unwrap();
        let next = |moment: &Timestamp| cron.after(*moment);
        let moments = std::iter::successors(cron.after(at(from)), next).take(count);
        let text = |moment: Timestamp| {
            jiff::Timestamp::from_microsecond(moment.as_micros()).unwrap().to_string()
        };
        moments.map(text).collect()
    }

    #[test]
    fn a_moment_is_by_the_clocks_of_its_zone() {
        assert_eq!(
            moments("0 3 * * *", "Europe/Berlin", "2026-11-23T00:00:00Z", 2),
            ["2026-11-23T02:00:00Z", "2026-11-24T02:00:00Z"]
        );
        assert_eq!(
            moments("30 0 3 * * *", "UTC", "2026-11-23T00:00:00Z", 1),
            ["2026-11-23T03:00:30Z"],
            "with seconds"
        );
        assert_eq!(
            moments("0 0 L * *", "UTC", "2027-02-01T00:00:00Z", 1),
            ["2027-02-28T00:00:00Z"]
        );
    }

    /// 2:00 to 3:00 is left out in Berlin on 2026-03-29.
    #[test]
    fn on_the_day_that_is_shorter_a_time_that_is_left_out_comes_once_behind_the_gap() {
        assert_eq!(
            moments("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            moments("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        );
    }

    /// 2:00 to 3:00 comes twice in Berlin on 2026-10-25.
    #[test]
    fn on_the_day_that_is_longer_a_fixed_time_comes_once_and_an_interval_goes_on() {
        assert_eq!(
            moments("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        assert_eq!(
            moments("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 4),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z"
            ],
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |expression: &str, zone: &str| {
            let error = Cron::parse(expression, zone, at("2026-11-23T00:00:00Z")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misconfigured);
            error.to_string()
        };
        for expression in ["", "* * *", "61 * * * *", "0 3 * * xyz"] {
            let text = refused(expression, "UTC");
            assert!(text.contains(&format!("read the cron expression `{expression}`")), "{text}");
        }
        let text = refused("0 3 * * *", "Europe/Berlni");
        assert!(text.contains("find the time zone `Europe/Berlni`"), "{text}");
        let text = refused("0 0 30 2 *", "UTC");
        assert!(text.contains("ever comes") || text.contains("read the cron"), "{text}");
    }
}
