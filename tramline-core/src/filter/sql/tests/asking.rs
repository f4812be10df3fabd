//! How the tests ask an expression.

use super::super::expression::SqlExpression;
use super::super::truth::Truth;
use crate::filter::Facts;
use crate::headers::Headers;

/// What an expression is, seen from outside: false is that whose negation matches.
pub(super) fn truth(expression: &str, headers: &Headers, body: &str) -> Truth {
    let facts = Facts::new("orders.placed", headers, body.as_bytes());
    let matches = |text: &str| {
        let parsed = SqlExpression::parse(text);
        parsed.unwrap_or_else(|error| panic!("{error}")).matches(&facts)
    };
    match (matches(expression), matches(&format!("NOT ({expression})"))) {
        (true, false) => Truth::True,
        (false, true) => Truth::False,
        (false, false) => Truth::Unknown,
        (true, true) => panic!("{expression} and its negation are both true"),
    }
}

pub(super) fn assert_truths(headers: &Headers, body: &str, rows: &[(Truth, &[&str])]) {
    for (expected, expressions) in rows {
        for expression in *expressions {
            assert_eq!(truth(expression, headers, body), *expected, "{expression}");
        }
    }
}
