//! The language as its users meet it: through `SqlExpression`.

mod comparing;
mod faults;
mod logic;
mod names;
mod properties;

use super::expression::SqlExpression;
use super::truth::Truth;
use crate::filter::Facts;
use crate::headers::Headers;

/// What an expression is, seen from outside: false is that whose negation matches.
fn truth(expression: &str, headers: &Headers, body: &str) -> Truth {
    let facts = Facts::new("orders.placed", headers, body.as_bytes());
    let matches = |text: &str| {
        let parsed = SqlExpression::parse(text);
        parsed
            .unwrap_or_else(|error| panic!("{error}"))
            .matches(&facts)
    };
    match (matches(expression), matches(&format!("NOT ({expression})"))) {
        (true, false) => Truth::True,
        (false, true) => Truth::False,
        (false, false) => Truth::Unknown,
        (true, true) => panic!("{expression} and its negation are both true"),
    }
}

fn assert_truths(headers: &Headers, body: &str, rows: &[(Truth, &[&str])]) {
    for (expected, expressions) in rows {
        for expression in *expressions {
            assert_eq!(truth(expression, headers, body), *expected, "{expression}");
        }
    }
}
