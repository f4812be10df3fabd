//! Three-valued logic, and the conditions that are more than a comparison.

use super::super::truth::Truth::{False, True, Unknown};
use super::asking::{assert_truths, truth};
use crate::headers::Headers;
use bytes::Bytes;

#[test]
fn and_or_and_not_follow_the_truth_tables_of_sql() {
    let words = [("TRUE", True), ("FALSE", False), ("NULL", Unknown)];
    for (left, left_truth) in words {
        for (right, right_truth) in words {
            let both = match (left_truth, right_truth) {
                (True, True) => True,
                (False, _) | (_, False) => False,
                _ => Unknown,
            };
            let either = match (left_truth, right_truth) {
                (False, False) => False,
                (True, _) | (_, True) => True,
                _ => Unknown,
            };
            let rows: &[(_, &[&str])] = &[
                (both, &[&format!("{left} AND {right}")]),
                (either, &[&format!("{left} OR {right}")]),
                (both, &[&format!("NOT (NOT {left} OR NOT {right})")]),
                (either, &[&format!("NOT (NOT {left} AND NOT {right})")]),
            ];
            assert_truths(&Headers::new(), "", rows);
        }
    }
}

#[test]
fn not_binds_tighter_than_and_and_and_tighter_than_or() {
    assert_truths(
        &Headers::new(),
        r#"{"a": 1}"#,
        &[
            (
                True,
                &["TRUE OR TRUE AND FALSE", "NOT FALSE AND TRUE", "NOT a = 2", "NOT FALSE OR TRUE"],
            ),
            (
                False,
                &["(TRUE OR TRUE) AND FALSE", "NOT (FALSE OR TRUE)", "NOT a = 1", "NOT NOT FALSE"],
            ),
        ],
    );
}

#[test]
fn in_is_true_if_one_is_equal_and_unknown_if_one_might_be() {
    let headers = Headers::from_iter([("status", "Created"), ("total", "12.0")]);
    assert_truths(
        &headers,
        r#"{"a": 2, "list": [1]}"#,
        &[
            (
                True,
                &[
                    "a IN (1, 2, 3)",
                    "a IN (2)",
                    "a IN (NULL, 2)",
                    "a IN ('2')",
                    "a in (1 + 1)",
                    "total IN (12)",
                    "status IN ('Paid', 'Created')",
                    "status NOT IN ('Paid')",
                    "a NOT IN (1, 3)",
                    "a + 1 IN (3)",
                    "2 IN (1, a)",
                ],
            ),
            (
                False,
                &["a IN (1, 3)", "a NOT IN (1, 2)", "a NOT IN (NULL, 2)", "status IN ('created')"],
            ),
            (
                Unknown,
                &[
                    "a IN (1, NULL)",
                    "a NOT IN (1, NULL)",
                    "NULL IN (1)",
                    "absent IN (1, 2)",
                    "absent NOT IN (1, 2)",
                    "list IN (1)",
                    "a IN ('x')",
                    "status IN (1)",
                ],
            ),
        ],
    );
}

#[test]
fn between_includes_its_ends() {
    let headers = Headers::from_iter([("t", "m")]);
    assert_truths(
        &headers,
        r#"{"a": 5}"#,
        &[
            (
                True,
                &[
                    "a BETWEEN 5 AND 9",
                    "a BETWEEN 1 AND 5",
                    "a BETWEEN 1 AND 9 AND TRUE",
                    "t BETWEEN 'a' AND 'z'",
                    "a NOT BETWEEN 6 AND 9",
                    "a NOT BETWEEN 6 AND NULL",
                    "a * 2 BETWEEN a + 4 AND a * 3",
                ],
            ),
            (
                False,
                &[
                    "a BETWEEN 6 AND 9",
                    "a BETWEEN 9 AND 1",
                    "a NOT BETWEEN 1 AND 9",
                    "a BETWEEN 6 AND NULL",
                ],
            ),
            (Unknown, &["a BETWEEN 1 AND NULL", "absent BETWEEN 1 AND 2", "t BETWEEN 1 AND 2"]),
        ],
    );
}

#[test]
fn like_looks_at_text_only() {
    let headers = Headers::from_iter([("name", "Tram 100%"), ("total", "12.50")]);
    assert_truths(
        &headers,
        r#"{"n": 12, "yes": true, "escaped": "a\nb\u00e9"}"#,
        &[
            (
                True,
                &[
                    "name LIKE 'Tram%'",
                    "name LIKE '%100!%' ESCAPE '!'",
                    "name LIKE '_ram%'",
                    "name like '%' escape 'x'",
                    "name NOT LIKE 'tram%'",
                    "total LIKE '12.%'",
                    "escaped LIKE 'a_bé'",
                    "'it''s' LIKE '_t''_'",
                ],
            ),
            (False, &["name LIKE 'ram%'", "name LIKE ''", "name NOT LIKE '%'"]),
            (
                Unknown,
                &[
                    "n LIKE '12'",
                    "n NOT LIKE '13'",
                    "yes LIKE '%'",
                    "absent LIKE '%'",
                    "NULL NOT LIKE '%'",
                ],
            ),
        ],
    );
}

#[test]
fn is_null_and_exists_are_never_unknown() {
    let headers = Headers::from_iter([("bytes", Bytes::new())]);
    assert_truths(
        &headers,
        r#"{"zero": 0, "empty": "", "no": false, "nothing": null, "list": [], "object": {}}"#,
        &[
            (
                True,
                &[
                    "zero IS NOT NULL",
                    "empty IS NOT NULL",
                    "no IS NOT NULL",
                    "list IS NOT NULL",
                    "object IS NOT NULL",
                    "bytes IS NOT NULL",
                    "nothing IS NULL",
                    "absent IS NULL",
                    "NULL IS NULL",
                    "zero / 0 IS NULL",
                    "EXISTS(zero)",
                    "EXISTS (list)",
                    "exists([object])",
                    "EXISTS(bytes)",
                    "NOT EXISTS(absent)",
                    "NOT EXISTS(nothing)",
                    "(zero) IS NOT NULL",
                ],
            ),
            (
                False,
                &[
                    "zero IS NULL",
                    "nothing IS NOT NULL",
                    "EXISTS(absent)",
                    "bytes is null",
                    "1 IS NULL",
                ],
            ),
        ],
    );
}

#[test]
fn what_is_unknown_matches_neither_way() {
    let expression = "absent = 1 OR absent <> 1";
    assert_eq!(truth(expression, &Headers::new(), "{}"), Unknown);
}

#[test]
fn long_chains_need_no_deep_stack() {
    let chain = |word: &str, link: &str, count| vec![word; count].join(link);
    let body = r#"{"a": 1}"#;
    // Nearly as deep as allowed: `truth` itself adds two levels.
    let rows = [
        (format!("{} = 2000", chain("a", "+", 2000)), True),
        (format!("{} = 1", chain("a", "*", 2000)), True),
        (chain("a=1", " AND ", 500), True),
        (chain("a=2", " OR ", 500), False),
        (chain("(NOT a = -1)", " AND ", 200), True),
        (format!("a IN ({})", chain("2", ",", 1000)), False),
        (format!("{}a = 1{}", "(".repeat(62), ")".repeat(62)), True),
        (format!("{}a = 1", "NOT ".repeat(62)), True),
        (format!("{}a = -1", "- ".repeat(61)), True),
    ];
    for (expression, expected) in rows {
        assert_eq!(truth(&expression, &Headers::new(), body), expected, "{expression}");
    }
}
