//! Whatever stands in a filter is compiled or refused, and then looks at any message.
//!
//! The first line is the filter: a SQL expression or a subject pattern. The second is the subject;
//! lines `kind name value` of headers follow, and after an empty line the body.

use crate::lines;
use tramline_core::filter::{
    Facts, Filter, FilterError, HeadersFilter, SqlExpression, SubjectPattern,
};
use tramline_core::headers::Headers;

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (filter, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (subject, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let (head, body) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let headers = lines::headers(head);
    let facts = Facts::new(subject, &headers, body.as_bytes());
    check_sql(filter, &facts);
    check_subject(filter, subject);
    check_headers(&headers);
    // The rest as a whole is often nearly an object, which the body after it seldom is.
    if let Ok(expression) = SqlExpression::parse(filter) {
        expression.matches(&Facts::new(subject, &Headers::new(), rest.as_bytes()));
    }
}

fn check_sql(text: &str, facts: &Facts<'_>) {
    let expression = match SqlExpression::parse(text) {
        Ok(expression) => expression,
        Err(error) => return check_error(&error, text),
    };
    let matches = expression.matches(facts);
    assert_eq!(expression.matches(facts), matches);
    let names: Vec<&str> = expression.names().collect();
    assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");

    let asked = |text: String| SqlExpression::parse(&text).map(|parsed| parsed.matches(facts));
    // These may be refused for their length or depth, and for nothing else.
    if let Ok(negated) = asked(format!("NOT ({text})")) {
        assert!(!(matches && negated), "{text:?} and its contrary");
    }
    if let Ok(twice) = asked(format!("({text}) AND NOT NOT ({text})")) {
        assert_eq!(twice, matches, "{text:?} twice");
    }
    if let Ok(either) = asked(format!("({text}) OR NOT ({text}) AND FALSE")) {
        assert_eq!(either, matches, "{text:?} or nothing");
    }
}

fn check_error(error: &FilterError, text: &str) {
    let position = error.position().expect("every fault of a text has its place");
    assert!(position <= text.chars().count(), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

fn check_subject(text: &str, subject: &str) {
    let pattern = match SubjectPattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => return check_error(&error, text),
    };
    let words: Vec<&str> = text.split('.').collect();
    let said: Vec<&str> = subject.split('.').filter(|_| !subject.is_empty()).collect();
    assert_eq!(pattern.matches(subject), covers(&words, &said), "{text:?} and {subject:?}");
}

/// Whether the pattern covers the subject, row by row: entry `n` of a row says whether the words of
/// the pattern so far cover the first `n` of the subject.
fn covers(pattern: &[&str], subject: &[&str]) -> bool {
    let mut row = vec![false; subject.len() + 1];
    row[0] = true;
    for word in pattern {
        let before = row.clone();
        row[0] = *word == "#" && before[0];
        for n in 1..row.len() {
            row[n] = match *word {
                "#" => before[n] || row[n - 1],
                "*" => before[n - 1],
                word => before[n - 1] && word == subject[n - 1],
            };
        }
    }
    row[subject.len()]
}

fn check_headers(headers: &Headers) {
    let pairs = || headers.iter().map(|(name, value)| (name, value.clone()));
    let (all, any) = (HeadersFilter::all(pairs()), HeadersFilter::any(pairs()));
    assert!(all.matches(headers), "every header is what it is: {headers:?}");
    assert_eq!(any.matches(headers), !headers.is_empty());
    let named = pairs().all(|(name, _)| !name.is_empty());
    let compiled = Filter::Headers(all).compile();
    assert_eq!(compiled.is_ok(), named && !headers.is_empty());
}
