//! Single values, read leniently: others may have written them, in whatever types they have.

use super::rfc3339;
use crate::clock::Timestamp;
use crate::headers::HeaderValue;
use std::ops::RangeInclusive;

/// The milliseconds that are taken for a moment: the years 0000 to 9999.
///
/// What is outside was not counted in milliseconds: today in microseconds lies in the year 55,000.
pub(super) const MILLIS: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// What is written for a moment. The far end of time, which an endless time to live leads to, is
/// written as the last moment that is read.
pub(super) fn millis(moment: Timestamp) -> i64 {
    moment.as_millis().clamp(*MILLIS.start(), *MILLIS.end())
}

/// Why a value cannot be what it should be.
pub(super) type Why = String;

pub(super) fn text(value: &HeaderValue) -> Result<String, Why> {
    match value {
        HeaderValue::Text(text) => Ok(text.clone()),
        HeaderValue::Int(int) => Ok(int.to_string()),
        HeaderValue::Float(float) => Ok(float.to_string()),
        HeaderValue::Bool(bool) => Ok(bool.to_string()),
        HeaderValue::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err("these bytes are no UTF-8".to_owned()),
        },
    }
}

/// A whole number that fits, also from text, and from the floats of clients that know no integers.
pub(super) fn int<T: TryFrom<i64>>(value: &HeaderValue) -> Result<T, Why> {
    /// Above it not every integer is a float.
    const EXACT_MAX: f64 = (1_u64 << 53) as f64;
    let int = match value {
        HeaderValue::Int(int) => Some(*int),
        HeaderValue::Float(float) if float.fract() == 0.0 && float.abs() <= EXACT_MAX => {
            Some(*float as i64)
        }
        HeaderValue::Float(_) | HeaderValue::Bool(_) => None,
        HeaderValue::Text(_) | HeaderValue::Bytes(_) => text(value)?.trim().parse().ok(),
    };
    let fits = int.and_then(|int| T::try_from(int).ok());
    fits.ok_or_else(|| format!("{} is not a whole number in range", shown(value)))
}

/// A moment in milliseconds, or as RFC 3339 writes it.
pub(super) fn time(value: &HeaderValue) -> Result<Timestamp, Why> {
    if let Ok(millis) = int(value) {
        if MILLIS.contains(&millis) {
            return Ok(Timestamp::from_millis(millis));
        }
        return Err(format!("{millis} milliseconds are outside of the years 0 to 9999"));
    }
    let moment = text(value).ok().and_then(|text| rfc3339::parse(&text));
    moment.ok_or_else(|| format!("{} is no time", shown(value)))
}

/// The value in a complaint: enough to find it by, not enough to flood a log.
fn shown(value: &HeaderValue) -> String {
    const CHARS_MAX: usize = 40;
    match text(value) {
        Ok(text) if text.chars().nth(CHARS_MAX).is_none() => format!("{text:?}"),
        Ok(text) => format!("{:?}…", text.chars().take(CHARS_MAX).collect::<String>()),
        Err(why) => why,
    }
}
