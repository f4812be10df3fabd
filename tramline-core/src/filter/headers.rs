//! Filters by equal headers.

use super::FilterError;
use crate::headers::{HeaderValue, Headers};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Wanted headers with their values.
///
/// Values are equal if their types are: text, booleans and bytes exactly, integers and floats by
/// what they are worth (`1` equals `1.0`). Text never equals a number, as in the headers exchange
/// of RabbitMQ; names that begin with `x-` are names like all others.
///
/// ```
/// use tramline_core::filter::HeadersFilter;
/// use tramline_core::headers::Headers;
///
/// let wanted = HeadersFilter::any([("region", "eu"), ("region", "uk")]);
/// assert!(wanted.matches(&Headers::from_iter([("region", "uk")])));
/// assert!(!wanted.matches(&Headers::from_iter([("region", "us")])));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadersFilter {
    /// How many of the pairs must be there.
    pub mode: HeadersMatch,
    /// Header names with the values they must have.
    pub pairs: Vec<(String, HeaderValue)>,
}

/// How many of the wanted headers a message must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadersMatch {
    /// Every one.
    All,
    /// At least one.
    Any,
}

impl HeadersFilter {
    /// Every one of these pairs.
    pub fn all<I, N, V>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<HeaderValue>,
    {
        Self { mode: HeadersMatch::All, pairs: collect(pairs) }
    }

    /// At least one of these pairs.
    pub fn any<I, N, V>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<HeaderValue>,
    {
        Self { mode: HeadersMatch::Any, pairs: collect(pairs) }
    }

    /// Whether a message with these headers is let through.
    pub fn matches(&self, headers: &Headers) -> bool {
        let carried = |(name, wanted): &(String, HeaderValue)| {
            headers.get(name).is_some_and(|value| same_value(value, wanted))
        };
        match self.mode {
            HeadersMatch::All => self.pairs.iter().all(carried),
            HeadersMatch::Any => self.pairs.iter().any(carried),
        }
    }

    pub(super) fn check(&self) -> Result<(), FilterError> {
        if self.pairs.is_empty() {
            let message = "expected a header to compare, found none";
            return Err(FilterError::in_headers(message));
        }
        if self.pairs.iter().any(|(name, _)| name.is_empty()) {
            let message = "expected a header name, found an empty one";
            return Err(FilterError::in_headers(message));
        }
        Ok(())
    }
}

fn collect<N: Into<String>, V: Into<HeaderValue>>(
    pairs: impl IntoIterator<Item = (N, V)>,
) -> Vec<(String, HeaderValue)> {
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn same_value(left: &HeaderValue, right: &HeaderValue) -> bool {
    match (left, right) {
        (HeaderValue::Int(int), HeaderValue::Float(float))
        | (HeaderValue::Float(float), HeaderValue::Int(int)) => same_number(*int, *float),
        _ => left == right,
    }
}

/// Exact also above 2⁵³, where a conversion of the integer would round.
fn same_number(int: i64, float: f64) -> bool {
    let in_range = (i64::MIN as f64..-(i64::MIN as f64)).contains(&float);
    in_range && float.fract() == 0.0 && float as i64 == int
}

/// The same words as after `headers` in [`Filter`](super::Filter)'s text: `all (region = 'eu')`.
impl fmt::Display for HeadersFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.mode {
            HeadersMatch::All => "all (",
            HeadersMatch::Any => "any (",
        })?;
        for (index, (name, value)) in self.pairs.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(formatter, "{comma}{name} = ")?;
            write_value(formatter, value)?;
        }
        formatter.write_str(")")
    }
}

fn write_value(formatter: &mut fmt::Formatter<'_>, value: &HeaderValue) -> fmt::Result {
    match value {
        HeaderValue::Text(text) => write!(formatter, "'{}'", text.replace('\'', "''")),
        HeaderValue::Int(int) => write!(formatter, "{int}"),
        HeaderValue::Float(float) => write!(formatter, "{float:?}"),
        HeaderValue::Bool(bool) => write!(formatter, "{bool}"),
        HeaderValue::Bytes(bytes) => {
            formatter.write_str("x'")?;
            bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
            formatter.write_str("'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    #[test]
    fn all_wants_every_pair_and_any_wants_one() {
        let headers = Headers::from_iter([("a", 1), ("b", 2), ("x-c", 3)]);
        for (pairs, all, any) in [
            (vec![("a", 1)], true, true),
            (vec![("a", 1), ("b", 2)], true, true),
            (vec![("a", 1), ("b", 3)], false, true),
            (vec![("a", 1), ("absent", 1)], false, true),
            (vec![("a", 2), ("b", 1)], false, false),
            (vec![("absent", 1)], false, false),
            (vec![("A", 1)], false, false),
            (vec![("x-c", 4), ("a", 1)], false, true),
            (vec![("x-c", 3)], true, true),
        ] {
            assert_eq!(HeadersFilter::all(pairs.clone()).matches(&headers), all, "{pairs:?}");
            assert_eq!(HeadersFilter::any(pairs.clone()).matches(&headers), any, "{pairs:?}");
        }
    }

    #[test]
    fn values_are_equal_within_their_type_and_numbers_by_worth() {
        let values = [
            HeaderValue::from("1"),
            HeaderValue::from("true"),
            HeaderValue::from(""),
            HeaderValue::from(1),
            HeaderValue::from(1.5),
            HeaderValue::from(true),
            HeaderValue::from(false),
            HeaderValue::from(Bytes::from_static(b"1")),
            HeaderValue::from(i64::MAX),
            HeaderValue::from(9.3e18),
        ];
        for (i, left) in values.iter().enumerate() {
            for (j, right) in values.iter().enumerate() {
                assert_eq!(same_value(left, right), i == j, "{left:?} and {right:?}");
            }
        }
    }

    #[test]
    fn integers_equal_floats_only_if_exactly_worth_the_same() {
        for (int, float, expected) in [
            (1, 1.0, true),
            (0, -0.0, true),
            (1, 1.5, false),
            (1 << 53, 9_007_199_254_740_992.0, true),
            ((1 << 53) + 1, 9_007_199_254_740_992.0, false),
            (i64::MAX, 9_223_372_036_854_775_807.0, false),
            (i64::MIN, -9_223_372_036_854_775_808.0, true),
            (i64::MIN, f64::NEG_INFINITY, false),
            (0, f64::NAN, false),
        ] {
            let (int_value, float_value) = (HeaderValue::Int(int), HeaderValue::Float(float));
            assert_eq!(same_value(&int_value, &float_value), expected, "{int} and {float}");
            assert_eq!(same_value(&float_value, &int_value), expected, "{float} and {int}");
        }
    }

    proptest! {
        /// Stands on serde_json's feature `float_roundtrip`.
        #[test]
        fn a_float_survives_storage_to_the_last_bit(float in any::<f64>()) {
            let filter = HeadersFilter::all([("f", HeaderValue::Float(float))]);
            let written = serde_json::to_string(&filter).unwrap();
            let read = serde_json::from_str::<HeadersFilter>(&written).unwrap();
            let HeaderValue::Float(back) = read.pairs[0].1 else { panic!("{written}") };
            prop_assert_eq!(back.to_bits(), float.to_bits());
        }
    }
}
