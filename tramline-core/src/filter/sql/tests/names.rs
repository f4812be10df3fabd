//! What a name means.

use super::super::expression::SqlExpression;
use super::super::truth::Truth::{False, True, Unknown};
use super::asking::assert_truths;
use crate::filter::Facts;
use crate::headers::Headers;

#[test]
fn a_header_wins_over_a_body_field() {
    let headers = Headers::from_iter([("region", "eu"), ("total", "")]);
    assert_truths(
        &headers,
        r#"{"region": "us", "total": 5, "tier": "gold"}"#,
        &[
            (True, &["region = 'eu'", "tier = 'gold'", "total = ''"]),
            (False, &["region = 'us'"]),
            (Unknown, &["total = 5"]),
        ],
    );
}

#[test]
fn names_are_case_sensitive_and_keywords_are_not() {
    let rows: &[(_, &[&str])] = &[
        (True, &["Total = 1 aNd nOt total = 1", "total iS nOt nUlL", "Total bEtWeEn 0 aNd 2"]),
        (Unknown, &["TOTAL = 1"]),
    ];
    assert_truths(&Headers::new(), r#"{"Total": 1, "total": 2}"#, rows);
}

#[test]
fn quoted_names_may_be_anything() {
    let body = r#"{"and": 1, "a b": 2, "a.b": 3, "é": 4, "say \"x\"": 5, "x[0]": 6, "it's": 7}"#;
    let quoted = [
        "\"and\" = 1 AND [and] = 1",
        "[a b] = 2 AND \"a b\" = 2",
        "[a.b] = 3 AND \"a.b\" = 3",
        "\"é\" = 4",
        "\"say \"\"x\"\"\" = 5 AND [say \"x\"] = 5",
        "[x[0]]] = 6 AND \"x[0]\" = 6",
        "[it's] = 7",
        "EXISTS([a b])",
    ];
    assert_truths(&Headers::new(), body, &[(True, &quoted)]);
}

#[test]
fn only_top_level_fields_have_names() {
    let body = r#"{"a": {"b": 1, "c": null}, "d": [{"b": 2}]}"#;
    assert_truths(&Headers::new(), body, &[(Unknown, &["b = 1", "b = 2"]), (True, &["c IS NULL"])]);
}

#[test]
fn the_last_of_two_fields_with_one_name_counts() {
    let body = r#"{"a": 1, "a": null, "b": null, "b": 2}"#;
    assert_truths(&Headers::new(), body, &[(True, &["a IS NULL", "b = 2"])]);
}

#[test]
fn escapes_in_names_and_texts_of_a_body_are_read() {
    let body = r#"{"\u0061": "\u00e9\"\\\/\n\ud83d\ude83", "n": "\u0031"}"#;
    let text = "a = 'é\"\\/\n🚃'";
    assert_truths(&Headers::new(), body, &[(True, &[text, "n = 1", "n = '1'"])]);
}

#[test]
fn a_body_that_is_no_object_leaves_the_headers() {
    let headers = Headers::from_iter([("a", 1)]);
    for body in ["", "not json", "[1]", "{\"b\":", "\u{0}", "null"] {
        let rows: &[(_, &[&str])] = &[(True, &["a = 1", "b IS NULL"]), (Unknown, &["b = 1"])];
        assert_truths(&headers, body, rows);
    }
}

#[test]
fn names_are_listed_sorted_and_once() {
    let text = "b = 1 OR (a LIKE 'x' AND EXISTS([c d]) AND -b < B + 2) OR z IN (y, 1) OR NOT k";
    let parsed = SqlExpression::parse(text).unwrap();
    assert_eq!(parsed.names().collect::<Vec<_>>(), ["B", "a", "b", "c d", "k", "y", "z"]);
    assert_eq!(parsed.as_str(), text);
    assert_eq!(SqlExpression::parse("TRUE").unwrap().names().count(), 0);
}

#[test]
fn text_comparison_would_find_other_orders() {
    let large = SqlExpression::parse("total > 1000").unwrap();
    for (total, expected) in [("999.99", false), ("1000", false), ("1000.01", true), ("9", false)] {
        for body in [format!(r#"{{"total":"{total}"}}"#), format!(r#"{{"total":{total}}}"#)] {
            let headers = Headers::new();
            let facts = Facts::new("orders.placed", &headers, body.as_bytes());
            assert_eq!(large.matches(&facts), expected, "{body}");
        }
    }
}
