//! Moments by the clock on a wall.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::{Error, ErrorKind, Result};

/// A cron expression in a time zone.
///
/// On days on which clocks change it does as Vixie cron does (cron(8)): an expression that names its minutes
/// and hours, alone, in lists or in ranges, is about the time on the clock. Times that are left out come once,
/// directly behind the gap; times that come twice count the first time. One with a `*` among them is about time
/// that passes, and goes on in it.
#[derive(Clone, Debug)]
pub(crate) struct Cron {
    // Large, and held beside what is small.
    pattern: Arc<croner::Cron>,
    zone: TimeZone,
    names_times: bool,
}

/// No clock is set by more; as far back a time may lie that comes behind a gap.
const SET_BY_MOST: Duration = Duration::from_secs(25 * 3600);

impl Cron {
    /// Reads both.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: one is wrong, or the moment never comes.
    pub(crate) fn parse(expression: &str, zone: &str, now: Timestamp) -> Result<Self> {
        let wrong =
            |what: String, why: String| Error::new(ErrorKind::Misconfigured, what).because(why);
        let pattern = croner::Cron::from_str(expression).map_err(|error| {
            wrong(format!("read the cron expression `{expression}`"), error.to_string())
        })?;
        let zone = TimeZone::get(zone)
            .map_err(|error| wrong(format!("find the time zone `{zone}`"), error.to_string()))?;
        let cron = Self { pattern: pattern.into(), zone, names_times: names_times(expression) };
        if cron.after(now).is_none() {
            let what = format!("plan by the cron expression `{expression}`");
            return Err(wrong(what, "no such moment ever comes".to_owned()));
        }
        Ok(cron)
    }

    /// The first moment behind `moment`, if there is one.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = jiff::Timestamp::from_microsecond(moment.as_micros()).ok()?;
        let next = if self.names_times { self.named(moment) } else { self.passing(moment) };
        Some(Timestamp::from_micros(next?.as_microsecond()))
    }

    fn passing(&self, moment: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let zoned = moment.to_zoned(self.zone.clone());
        Some(self.pattern.find_next_occurrence(&zoned, false).ok()?.timestamp())
    }

    /// The times on the clock one after the other, until one comes behind `moment`.
    fn named(&self, moment: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let before = moment.checked_sub(SET_BY_MOST).ok()?;
        // Where no clock was set meanwhile, the times before this one are over.
        let was_set = self.zone.to_offset(before) != self.zone.to_offset(moment);
        let from = if was_set { before } else { moment };
        let mut time: DateTime = self.zone.to_datetime(from);
        loop {
            time = self.pattern.find_next_occurrence(&time, false).ok()?;
            let comes = self.comes(time)?;
            if comes > moment {
                return Some(comes);
            }
        }
    }

    /// When a time on the clock comes for the first time, or when the gap ends in which it would.
    fn comes(&self, time: DateTime) -> Option<jiff::Timestamp> {
        match self.zone.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(time).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the clock that is already set forward, it lies before the gap.
                let early = after.to_timestamp(time).ok()?;
                Some(self.zone.following(early).next()?.timestamp())
            }
        }
    }
}

/// Whether the seconds, minutes and hours of an expression are named, without any `*`.
fn names_times(expression: &str) -> bool {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    match fields.len() {
        5.. => !fields[..fields.len() - 3].iter().any(|field| field.contains(['*', '?'])),
        _ => !matches!(expression.trim(), "@hourly" | "@minutely" | "@secondly"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn lists_and_ranges_name_their_times_as_well() {
        assert_eq!(
            moments("30 2,14 * * *", "Europe/Berlin", "2026-03-28T13:30:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-29T12:30:00Z"],
        );
        assert_eq!(
            moments("30 1-3 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", 3),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        );
        assert_eq!(
            moments("0,30 2 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
            "both behind the gap are one"
        );
        assert_eq!(
            moments("30 2,14 * * *", "Europe/Berlin", "2026-10-24T13:30:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-25T13:30:00Z"],
        );
        assert_eq!(
            moments("15 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 3),
            ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T02:15:00Z"],
            "each hour that passes"
        );
    }

    /// Saturday ends an hour early in Nuuk on 2027-03-27.
    #[test]
    fn a_gap_may_reach_into_the_next_day() {
        assert_eq!(
            moments("30 23 * * SAT", "America/Nuuk", "2027-03-27T12:00:00Z", 1),
            ["2027-03-28T01:00:00Z"]
        );
    }

    /// A field of an expression: all, some, a range, or each of so many.
    fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
        prop_oneof![
            2 => Just("*".to_owned()),
            2 => (low..=high).prop_map(|one| one.to_string()),
            1 => proptest::collection::btree_set(low..=high, 2..5)
                .prop_map(|some| some.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
            1 => (low..high, 1..4u32).prop_map(move |(from, more)| {
                format!("{from}-{}", (from + more).min(high))
            }),
            1 => (2..7u32).prop_map(|step| format!("*/{step}")),
        ]
    }

    /// Days of the month, or of the week: whether both or either have to be met is no matter of agreement.
    fn days() -> impl Strategy<Value = (String, String)> {
        let week = prop_oneof![Just("MON-FRI"), Just("SUN"), Just("TUE,THU"), Just("*")];
        prop_oneof![
            field(1, 28).prop_map(|day| (day, "*".to_owned())),
            week.prop_map(|day| ("*".to_owned(), day.to_owned())),
        ]
    }

    proptest! {
        /// `jiff-cron` is another library, with another way to read and to search.
        #[test]
        fn moments_are_those_of_an_independent_library(
            second in field(0, 59), minute in field(0, 59), hour in field(0, 23), days in days(),
            month in field(1, 12), from in 1_500_000_000i64..2_000_000_000,
        ) {
            let (of_month, of_week) = days;
            let expression = format!("{second} {minute} {hour} {of_month} {month} {of_week}");
            let from = jiff::Timestamp::from_second(from).unwrap();
            let theirs: Vec<_> = jiff_cron::Schedule::from_str(&expression)
                .unwrap()
                .after(from.to_zoned(TimeZone::UTC))
                .take(12)
                .map(|moment| moment.timestamp().to_string())
                .collect();
            let ours = moments(&expression, "UTC", &from.to_string(), 12);
            prop_assert_eq!(ours, theirs, "{}", expression);
        }
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
        assert!(text.contains("no such moment ever comes"), "{text}");
    }
}
