//! Times in text, as CloudEvents write them: `2026-07-01T12:30:00.5+02:00`.

use crate::clock::Timestamp;

/// The moment that `text` names, down to microseconds. A small `t` or `z` and a blank in place of
/// the `T` are allowed; a leap second is the first one of the next minute.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4)?;
    rest.one_of(b"-")?;
    let month = rest.number(2)?;
    rest.one_of(b"-")?;
    let day = rest.number(2)?;
    rest.one_of(b"Tt ")?;
    let hour = rest.number(2)?;
    rest.one_of(b":")?;
    let minute = rest.number(2)?;
    rest.one_of(b":")?;
    let second = rest.number(2)?;
    let micros = rest.fraction()?;
    let offset_minutes = rest.offset()?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range || !rest.0.is_empty() {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some(Timestamp::from_micros((minutes * 60 + second) * 1_000_000 + micros))
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| self.0 = rest)?;
        Some(*first)
    }

    fn digit(&mut self) -> Option<i64> {
        self.one_of(b"0123456789").map(|digit| i64::from(digit - b'0'))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    /// Microseconds; further digits are dropped.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let mut worth = 100_000;
        let mut micros = self.digit()? * worth;
        while let Some(digit) = self.digit() {
            worth /= 10;
            micros += digit * worth;
        }
        Some(micros)
    }

    /// Minutes that the clock on the wall is ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin in March, so that the leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_FROM_YEAR_0: i64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, the months have 31, 30, 31, 30, 31 days, over and over: 153 in five months.
    let days_before_month = (153 * month + 2) / 5;
    year * 365 + leap_days + days_before_month + day - 1 - DAYS_FROM_YEAR_0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(text: &str) -> Option<i64> {
        parse(text).map(Timestamp::as_micros)
    }

    #[test]
    fn times_are_read_with_fractions_and_offsets() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1_000_000),
            ("2018-04-05T03:56:24Z", 1_522_900_584_000_000),
            ("2018-04-05t03:56:24z", 1_522_900_584_000_000),
            ("2018-04-05 03:56:24.5Z", 1_522_900_584_500_000),
            ("2018-04-05T03:56:24.000001Z", 1_522_900_584_000_001),
            ("2018-04-05T03:56:24.1234567890Z", 1_522_900_584_123_456),
            ("2018-04-05T05:56:24+02:00", 1_522_900_584_000_000),
            ("2018-04-04T18:26:24-09:30", 1_522_900_584_000_000),
            ("2018-04-05T03:56:24-00:00", 1_522_900_584_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999_000),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2018-04-05",
            "2018-04-05T03:56Z",
            "2018-04-05T03:56:24",
            "2018-04-05T03:56:24.Z",
            "2018-04-05T03:56:24Z ",
            "2018-04-05T03:56:24+0200",
            "2018-04-05T03:56:24+24:00",
            "2018-04-05T03:56:24+02:60",
            "2018-04-05T24:00:00Z",
            "2018-04-05T03:60:24Z",
            "2018-04-05T03:56:61Z",
            "2018-00-05T03:56:24Z",
            "2018-13-05T03:56:24Z",
            "2018-04-00T03:56:24Z",
            "2018-04-31T03:56:24Z",
            "2018-02-29T03:56:24Z",
            "2100-02-29T03:56:24Z",
            "18-04-05T03:56:24Z",
            "+2018-04-05T03:56:24Z",
            "２018-04-05T03:56:24Z",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_after_the_one_before() {
        let mut days = days_since_1970(1800, 1, 1) - 1;
        for year in 1800..2201 {
            for month in 1..=12 {
                for day in 1..=days_of(year, month) {
                    days += 1;
                    assert_eq!(days_since_1970(year, month, day), days, "{year}-{month}-{day}");
                }
            }
        }
    }

    /// The moment as a clock shows it that is ahead of UTC; the date is counted out day by day.
    fn written(micros: i64, ahead_minutes: i64) -> String {
        const DAY: i64 = 24 * 60 * 60;
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let shown = seconds + ahead_minutes * 60;
        let (mut day, time) = (shown.div_euclid(DAY), shown.rem_euclid(DAY));
        let (mut year, mut month) = (1970, 1);
        while day < 0 {
            year -= 1;
            day += (1..=12).map(|month| days_of(year, month)).sum::<i64>();
        }
        while day >= days_of(year, month) {
            day -= days_of(year, month);
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
        let (day, hour, minute, second) = (day + 1, time / 3600, time / 60 % 60, time % 60);
        let sign = if ahead_minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (ahead_minutes.abs() / 60, ahead_minutes.abs() % 60);
        format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}\
             {sign}{hours:02}:{minutes:02}"
        )
    }

    proptest! {
        #[test]
        fn a_moment_written_on_any_clock_is_read_back(
            micros in -62_167_000_000_000_000_i64..253_402_000_000_000_000,
            ahead_minutes in -1439_i64..=1439,
        ) {
            let text = written(micros, ahead_minutes);
            prop_assert_eq!(parse(&text), Some(Timestamp::from_micros(micros)), "{}", text);
        }
    }
}
