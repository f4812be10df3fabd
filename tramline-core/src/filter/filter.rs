//! The filter as it is written, stored and shown.

use super::{FilterError, HeadersFilter, Matcher, SqlExpression};
use crate::headers::HeaderValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What a subscription lets through.
///
/// This is data that may still be wrong: [`compile`](Self::compile) checks it.
///
/// ```
/// use tramline_core::filter::{Facts, Filter};
/// use tramline_core::headers::Headers;
///
/// let large = Filter::sql("total > 1000 AND status = 'Created'").compile()?;
/// let headers = Headers::from_iter([("status", "Created")]);
/// assert!(large.matches(&Facts::new("orders.placed", &headers, br#"{"total": "1200.50"}"#)));
/// assert!(!large.matches(&Facts::new("orders.placed", &headers, br#"{"total": 999}"#)));
/// # Ok::<(), tramline_core::filter::FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Everything.
    All,
    /// Messages whose subject matches a [`SubjectPattern`](super::SubjectPattern).
    Subject(String),
    /// Messages that carry the wanted headers.
    Headers(HeadersFilter),
    /// Messages for which a [`SqlExpression`] is true.
    Sql(String),
}

impl Filter {
    /// Lets everything through.
    ///
    /// ```
    /// # use tramline_core::filter::Filter;
    /// const EVERYTHING: Filter = Filter::all();
    /// assert_eq!(EVERYTHING.to_string(), "all");
    /// ```
    pub const fn all() -> Self {
        Self::All
    }

    /// Lets through what matches a subject pattern: `*` is one word, `#` any number of words.
    ///
    /// ```
    /// # use tramline_core::filter::Filter;
    /// assert!(Filter::subject("orders.*").compile().is_ok());
    /// assert!(Filter::subject("orders*").compile().is_err());
    /// ```
    pub fn subject(pattern: impl Into<String>) -> Self {
        Self::Subject(pattern.into())
    }

    /// Lets through messages that carry every one of these headers with an equal value.
    ///
    /// ```
    /// # use tramline_core::filter::Filter;
    /// let filter = Filter::headers_all([("region", "eu"), ("tier", "gold")]);
    /// assert_eq!(filter.to_string(), "headers all (region = 'eu', tier = 'gold')");
    /// ```
    pub fn headers_all<I, N, V>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<HeaderValue>,
    {
        Self::Headers(HeadersFilter::all(pairs))
    }

    /// Lets through messages that carry at least one of these headers with an equal value.
    ///
    /// ```
    /// # use tramline_core::filter::Filter;
    /// let filter = Filter::headers_any([("priority", 9), ("retries", 0)]);
    /// assert_eq!(filter.to_string(), "headers any (priority = 9, retries = 0)");
    /// ```
    pub fn headers_any<I, N, V>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<HeaderValue>,
    {
        Self::Headers(HeadersFilter::any(pairs))
    }

    /// Lets through messages for which a SQL condition is true; [`SqlExpression`] describes the
    /// language.
    ///
    /// ```
    /// # use tramline_core::filter::Filter;
    /// let filter = Filter::sql("total > 1000 AND status = 'Created'");
    /// assert_eq!(filter.names(), ["status", "total"]);
    /// ```
    pub fn sql(expression: impl Into<String>) -> Self {
        Self::Sql(expression.into())
    }

    /// Checks the filter and makes it ready to match.
    ///
    /// # Errors
    ///
    /// A subject pattern or SQL expression that does not parse (the error has its position), and
    /// a headers filter without pairs or with an empty name.
    pub fn compile(&self) -> Result<Matcher, FilterError> {
        Matcher::compile(self)
    }

    /// The names that the filter looks up, sorted and each once: headers, or for SQL headers or
    /// body fields. With it a driver decides whether its broker can evaluate the filter.
    ///
    /// None for a SQL expression that does not compile.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::All | Self::Subject(_) => Vec::new(),
            Self::Headers(headers) => {
                let names = headers.pairs.iter().map(|(name, _)| name.clone());
                names.collect::<BTreeSet<_>>().into_iter().collect()
            }
            Self::Sql(expression) => SqlExpression::parse(expression)
                .map(|expression| expression.names().map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }
}

/// The filter as a person reads it in a log or on a dashboard.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(formatter, "all"),
            Self::Subject(pattern) => write!(formatter, "subject {pattern}"),
            Self::Headers(headers) => write!(formatter, "headers {headers}"),
            Self::Sql(expression) => write!(formatter, "sql {expression}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn one_of_each() -> Vec<Filter> {
        vec![
            Filter::all(),
            Filter::subject("orders.#"),
            Filter::headers_all([
                ("region", HeaderValue::from("it's €")),
                ("tier", HeaderValue::Int(i64::MIN)),
                ("share", HeaderValue::Float(0.1)),
                ("vip", HeaderValue::Bool(true)),
                ("key", HeaderValue::Bytes(Bytes::from_static(&[0, 171, 255]))),
            ]),
            Filter::headers_any([("a", 1)]),
            Filter::sql("total > 1000"),
        ]
    }

    #[test]
    fn every_filter_survives_the_trip_through_json() {
        for filter in one_of_each() {
            let written = serde_json::to_string(&filter).unwrap();
            assert_eq!(serde_json::from_str::<Filter>(&written).unwrap(), filter, "{written}");
        }
    }

    #[test]
    fn the_stored_form_is_stable() {
        let filters = one_of_each();
        let written = filters.iter().map(|filter| serde_json::to_string(filter).unwrap());
        assert_eq!(
            written.collect::<Vec<_>>(),
            [
                r#""all""#,
                r##"{"subject":"orders.#"}"##,
                concat!(
                    r#"{"headers":{"mode":"all","pairs":[["region",{"text":"it's €"}],"#,
                    r#"["tier",{"int":-9223372036854775808}],["share",{"float":0.1}],"#,
                    r#"["vip",{"bool":true}],["key",{"bytes":[0,171,255]}]]}}"#,
                ),
                r#"{"headers":{"mode":"any","pairs":[["a",{"int":1}]]}}"#,
                r#"{"sql":"total > 1000"}"#,
            ],
        );
    }

    #[test]
    fn a_filter_reads_well() {
        let shown = one_of_each().iter().map(Filter::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown,
            [
                "all",
                "subject orders.#",
                concat!(
                    "headers all (region = 'it''s €', tier = -9223372036854775808, ",
                    "share = 0.1, vip = true, key = x'00abff')",
                ),
                "headers any (a = 1)",
                "sql total > 1000",
            ],
        );
    }

    #[test]
    fn names_are_those_that_the_filter_looks_up() {
        assert_eq!(Filter::all().names(), [""; 0]);
        assert_eq!(Filter::subject("orders.*").names(), [""; 0]);
        assert_eq!(Filter::headers_any([("b", 1), ("a", 2), ("b", 3)]).names(), ["a", "b"]);
        let sql = Filter::sql("b = 1 AND EXISTS([x y]) OR b IN (a, \"Z\") AND t LIKE 'c'");
        assert_eq!(sql.names(), ["Z", "a", "b", "t", "x y"]);
        assert_eq!(Filter::sql("b = ").names(), [""; 0]);
    }

    #[test]
    fn a_wrong_filter_does_not_compile() {
        for (filter, message) in [
            (
                Filter::subject("orders."),
                r#"bad subject pattern "orders.": expected a word at character 8, found the end"#,
            ),
            (
                Filter::sql("total >"),
                r#"bad SQL filter "total >": expected a value at character 8, found the end"#,
            ),
            (
                Filter::headers_all([("", 1)]),
                "bad headers filter: expected a header name, found an empty one",
            ),
            (
                Filter::headers_any(Vec::<(String, i64)>::new()),
                "bad headers filter: expected a header to compare, found none",
            ),
        ] {
            assert_eq!(filter.compile().unwrap_err().to_string(), message);
        }
    }
}
