//! How values compare and calculate.

use super::super::truth::Truth::{self, False, True, Unknown};
use super::asking::{assert_truths, truth};
use crate::headers::{HeaderValue, Headers};
use bytes::Bytes;

const SIGNS: [&str; 7] = ["=", "<>", "!=", "<", "<=", ">", ">="];

fn by_sign(sign: &str, ordering: std::cmp::Ordering) -> Truth {
    let holds = match sign {
        "=" => ordering.is_eq(),
        "<>" | "!=" => ordering.is_ne(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    };
    if holds { True } else { False }
}

/// Numbers as they can be written in JSON, with what they are worth in hundredths.
const NUMBERS: [(&str, i64); 20] = [
    ("0", 0),
    ("-0", 0),
    ("0.00", 0),
    ("-0.01", -1),
    ("0.01", 1),
    ("1e-2", 1),
    ("0.1", 10),
    ("1.0E-1", 10),
    ("9", 900),
    ("9.5", 950),
    ("10", 1000),
    ("1e1", 1000),
    ("10.00", 1000),
    ("-10", -1000),
    ("-9", -900),
    ("100", 10_000),
    ("1000", 100_000),
    ("1E3", 100_000),
    ("1200.50", 120_050),
    ("92233720368547758.07", i64::MAX),
];

#[test]
fn numbers_compare_by_worth_wherever_they_stand() {
    for (left, left_worth) in NUMBERS {
        let float = left.parse::<f64>().unwrap();
        let sources = [
            (Headers::new(), format!(r#"{{"n": {left}}}"#)),
            (Headers::new(), format!(r#"{{"n": "{left}"}}"#)),
            (Headers::from_iter([("n", left)]), String::new()),
            (Headers::from_iter([("n", float)]), String::new()),
        ];
        // The float of the last number is another one.
        let exact_sources = if left_worth == i64::MAX { 3 } else { 4 };
        for (headers, body) in &sources[..exact_sources] {
            for (right, right_worth) in NUMBERS {
                for sign in SIGNS {
                    let expected = by_sign(sign, left_worth.cmp(&right_worth));
                    let expression = format!("n {sign} {right}");
                    let message = format!("{expression} for {headers:?} {body}");
                    assert_eq!(truth(&expression, headers, body), expected, "{message}");
                    let turned = by_sign(sign, right_worth.cmp(&left_worth));
                    let expression = format!("{right} {sign} n");
                    assert_eq!(truth(&expression, headers, body), turned, "{message}, turned");
                }
            }
        }
    }
}

#[test]
fn text_that_is_no_json_number_is_unknown_beside_a_number() {
    for text in ["01234", "", " 1", "1 ", "+1", ".5", "1.", "0x1", "1e", "NaN", "Infinity", "a"] {
        for sign in SIGNS {
            let headers = Headers::from_iter([("t", text)]);
            assert_eq!(truth(&format!("t {sign} 1"), &headers, ""), Unknown, "{text:?} {sign}");
            let body = format!(r#"{{"t": "{text}"}}"#);
            let turned = format!("-1 {sign} t");
            assert_eq!(truth(&turned, &Headers::new(), &body), Unknown, "{text:?} {sign}");
        }
    }
}

#[test]
fn text_compares_with_text_by_code_points() {
    let sorted = ["", "10", "9", "A", "B", "a", "a ", "aa", "b", "it's", "z", "é", "ｚ", "🚃"];
    for (i, left) in sorted.iter().enumerate() {
        let headers = Headers::from_iter([("t", *left)]);
        for (j, right) in sorted.iter().enumerate() {
            for sign in SIGNS {
                let expression = format!("t {sign} '{}'", right.replace('\'', "''"));
                let expected = by_sign(sign, i.cmp(&j));
                assert_eq!(truth(&expression, &headers, ""), expected, "{left:?} {expression}");
            }
        }
    }
}

#[test]
fn values_of_different_kinds_are_unknown_to_each_other() {
    let headers = Headers::from_iter([("bytes", Bytes::from_static(b"1"))]);
    let body = r#"{"number": 1, "text": "x", "yes": true, "nothing": null,
                   "list": [1], "object": {"a": 1}, "half": "\ud800"}"#;
    let kinds = [
        &["number", "1"][..],
        &["text", "'x'"],
        &["yes", "TRUE"],
        &["nothing", "absent", "NULL", "1 / 0"],
        &["bytes", "list", "object", "half"],
    ];
    for (i, left) in kinds.iter().enumerate() {
        for (j, right) in kinds.iter().enumerate() {
            let comparable = i == j && i < 3;
            for (left, right) in left.iter().flat_map(|l| right.iter().map(move |r| (l, r))) {
                for sign in ["=", "<>"] {
                    let expression = format!("{left} {sign} {right}");
                    let known = truth(&expression, &headers, body) != Unknown;
                    assert_eq!(known, comparable, "{expression}");
                }
            }
        }
    }
}

#[test]
fn booleans_are_equal_or_not_and_never_less() {
    let body = r#"{"yes": true, "no": false}"#;
    let headers = Headers::from_iter([("header", true)]);
    assert_truths(
        &headers,
        body,
        &[
            (
                True,
                &["yes = TRUE", "no = false", "yes <> no", "header = yes", "yes", "TRUE", "header"],
            ),
            (False, &["yes = FALSE", "no <> FALSE", "yes = no", "no", "FALSE", "yes AND no"]),
            (Unknown, &["yes > no", "no < TRUE", "yes >= yes", "yes = 'true'", "yes = 1", "NULL"]),
        ],
    );
}

#[test]
fn only_a_boolean_is_a_condition_by_itself() {
    let body = r#"{"one": 1, "text": "true", "nothing": null, "list": [true]}"#;
    let unknown = ["one", "text", "nothing", "absent", "list", "(one)", "NOT one"];
    assert_truths(&Headers::new(), body, &[(Unknown, &unknown)]);
}

#[test]
fn numbers_are_calculated_exactly() {
    let headers = Headers::from_iter([("total", "1200.50")]);
    let body = r#"{"price": 0.1, "count": 3, "word": "x", "list": [1], "yes": true}"#;
    assert_truths(
        &headers,
        body,
        &[
            (
                True,
                &[
                    "price * count = 0.3",
                    "0.1 + 0.2 = 0.3",
                    "total + 0.5 = 1201",
                    "total - 200.5 > 999.99",
                    "1 + 2 * 3 = 7",
                    "(1 + 2) * 3 = 9",
                    "10 - 3 - 2 = 5",
                    "100 / 10 / 2 = 5",
                    "2 * 7 % 4 = 2",
                    "-7 % 4 = -3",
                    "- count = -3",
                    "-(-count) = 3",
                    "1 - -1 = 2",
                    "-total < 0",
                    "10 / 4 = 2.5",
                    "(count) + ((1)) = (4)",
                    "1e30 * 2 > 1e30",
                    "1e30 / 1e29 < 11",
                    "'2' * '3' = 6",
                ],
            ),
            (False, &["price * count = 0.30000000000000004", "1 + 2 * 3 = 9", "-count > 0"]),
            (
                Unknown,
                &[
                    "count / 0 = 1",
                    "count % 0 = 0",
                    "count / 0 <> 1",
                    "0 / (price - 0.1) = 0",
                    "79228162514264337593543950335 + 1 > 0",
                    "79228162514264337593543950335 * 10 > 0",
                    "1e308 * 10 > 0",
                    "1e300 / 0 > 0",
                    "word + 1 = 1",
                    "-word = 1",
                    "absent + 1 = 1",
                    "1 + NULL = 1",
                    "list * 1 = 1",
                    "yes + 1 = 2",
                ],
            ),
        ],
    );
}

#[test]
fn what_exceeds_a_decimal_compares_as_a_float() {
    let headers = Headers::from_iter([("big", HeaderValue::Float(1e300))]);
    let body = r#"{"huge": 1e999, "long": 123456789012345678901234567890, "tiny": 1e-400}"#;
    assert_truths(
        &headers,
        body,
        &[
            (
                True,
                &["big > 1", "big = 1e300", "huge > big", "long > 1e29", "tiny = 0", "long = long"],
            ),
            (False, &["big < 79228162514264337593543950335", "-huge > -1", "long < 0"]),
        ],
    );
}

#[test]
fn integers_beyond_floats_stay_exact() {
    let body = r#"{"id": 9007199254740993}"#;
    let headers = Headers::from_iter([("max", i64::MAX), ("min", i64::MIN)]);
    let exact = [
        "id = 9007199254740993",
        "id > 9007199254740992",
        "id <> 9007199254740992",
        "max = 9223372036854775807",
        "max < 9223372036854775808",
        "min = -9223372036854775808",
        "id IN (9007199254740992, 9007199254740993)",
    ];
    assert_truths(&headers, body, &[(True, &exact)]);
}
