//! The filter as it meets messages.

use super::{Facts, Filter, FilterError, HeadersFilter, SqlExpression, SubjectPattern};
use std::sync::Arc;

/// A checked filter. Clones share what was compiled.
///
/// It looks at no more than its filter needs: the body is read only by SQL, only if a name is not
/// a header, and once per message.
///
/// ```
/// use tramline_core::filter::{Facts, Filter};
/// use tramline_core::headers::Headers;
///
/// let matcher = Filter::subject("orders.#").compile()?;
/// assert!(matcher.matches(&Facts::new("orders.placed.v2", &Headers::new(), b"")));
/// assert!(!matcher.matches(&Facts::new("payments.made", &Headers::new(), b"")));
/// # Ok::<(), tramline_core::filter::FilterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Matcher(Arc<Compiled>);

#[derive(Debug)]
enum Compiled {
    All,
    Subject(SubjectPattern),
    Headers(HeadersFilter),
    Sql(SqlExpression),
}

impl Matcher {
    /// Whether the filter lets a message through. What cannot be compared does not match.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        match &*self.0 {
            Compiled::All => true,
            Compiled::Subject(pattern) => pattern.matches(facts.subject),
            Compiled::Headers(filter) => filter.matches(facts.headers),
            Compiled::Sql(expression) => expression.matches(facts),
        }
    }

    pub(super) fn compile(filter: &Filter) -> Result<Self, FilterError> {
        Ok(Self(Arc::new(match filter {
            Filter::All => Compiled::All,
            Filter::Subject(pattern) => Compiled::Subject(SubjectPattern::parse(pattern)?),
            Filter::Headers(filter) => {
                filter.check()?;
                Compiled::Headers(filter.clone())
            }
            Filter::Sql(expression) => Compiled::Sql(SqlExpression::parse(expression)?),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    #[test]
    fn each_kind_of_filter_looks_at_its_own_part_of_the_message() {
        let headers = Headers::from_iter([("region", "eu")]);
        let facts = Facts::new("orders.placed", &headers, br#"{"total": 1200}"#);
        for (filter, expected) in [
            (Filter::all(), true),
            (Filter::subject("orders.*"), true),
            (Filter::subject("payments.*"), false),
            (Filter::headers_all([("region", "eu")]), true),
            (Filter::headers_all([("region", "us")]), false),
            (Filter::sql("total > 1000"), true),
            (Filter::sql("total > 1200"), false),
        ] {
            assert_eq!(filter.compile().unwrap().matches(&facts), expected, "{filter}");
        }
    }

    #[test]
    fn a_matcher_can_be_shared_between_threads() {
        fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
        shared(&Filter::all().compile().unwrap());
    }
}
