//! What is refused, and where the fault is said to be.

use super::super::expression::SqlExpression;

fn assert_refused(rows: &[(&str, usize, &str)]) {
    for (expression, position, message) in rows {
        let error = match SqlExpression::parse(expression) {
            Ok(_) => panic!("{expression} was accepted"),
            Err(error) => error,
        };
        let place = format!(" at character {}", position + 1);
        assert_eq!(error.position(), Some(*position), "{error}");
        assert_eq!(error.message().replacen(&place, " @", 1), *message, "{expression}");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert_refused(&[
        ("", 0, "expected a value @, found the end"),
        (" \t\n", 3, "expected a value @, found the end"),
        ("total >", 7, "expected a value @, found the end"),
        ("total > ", 8, "expected a value @, found the end"),
        ("> 1", 0, "expected a value @, found `>`"),
        ("total > > 1", 8, "expected a value @, found `>`"),
        ("total == 1", 7, "expected a value @, found `=`"),
        ("a = 1 AND", 9, "expected a value @, found the end"),
        ("OR a = 1", 0, "expected a value @, found `OR`"),
        ("NOT", 3, "expected a value @, found the end"),
        ("a = 1 +", 7, "expected a value @, found the end"),
        ("a = -", 5, "expected a value @, found the end"),
        ("()", 1, "expected a value @, found `)`"),
        ("(a = 1", 6, "expected `)` @, found the end"),
        ("(a = 1 b", 7, "expected `)` @, found `b`"),
        ("a IS 1", 5, "expected NULL @, found `1`"),
        ("a IS NOT 1", 9, "expected NULL @, found `1`"),
        ("a NOT = 1", 6, "expected IN, LIKE or BETWEEN @, found `=`"),
        ("a IN 1", 5, "expected `(` @, found `1`"),
        ("a IN ()", 6, "expected a value @, found `)`"),
        ("a IN (1,)", 8, "expected a value @, found `)`"),
        ("a IN (1 2)", 8, "expected `,` or `)` @, found `2`"),
        ("a BETWEEN 1", 11, "expected AND @, found the end"),
        ("a BETWEEN 1 OR 2", 12, "expected AND @, found `OR`"),
        ("a LIKE 1", 7, "expected a pattern in quotes @, found `1`"),
        ("a LIKE b", 7, "expected a pattern in quotes @, found `b`"),
        ("a LIKE 'x' ESCAPE", 17, "expected one character in quotes @, found the end"),
        ("EXISTS a", 7, "expected `(` @, found `a`"),
        ("EXISTS('a')", 7, "expected a name @, found `'a'`"),
        ("EXISTS(a = 1)", 9, "expected `)` @, found `=`"),
        ("EXISTS(a", 8, "expected `)` @, found the end"),
    ]);
}

#[test]
fn what_is_too_much_is_named() {
    assert_refused(&[
        ("a = 1 b", 6, "expected AND, OR or the end @, found `b`"),
        ("a = 1)", 5, "expected AND, OR or the end @, found `)`"),
        ("a = 1 = 1", 6, "expected AND, OR or the end @, found `=`"),
        ("a < b < c", 6, "expected AND, OR or the end @, found `<`"),
        ("a IS NULL NULL", 10, "expected AND, OR or the end @, found `NULL`"),
        ("a = 1; DROP", 5, "unknown character `;` @"),
        (
            "a = 1 'a text that is rather long'",
            6,
            "expected AND, OR or the end @, found `'a text that is rather l…`",
        ),
        ("active yes", 7, "expected a comparison @, found `yes`"),
    ]);
}

#[test]
fn a_value_is_not_a_condition_and_a_condition_is_not_a_value() {
    assert_refused(&[
        ("1", 1, "expected a comparison @, found the end"),
        ("'text'", 6, "expected a comparison @, found the end"),
        ("a + 1", 5, "expected a comparison @, found the end"),
        ("-a", 2, "expected a comparison @, found the end"),
        ("a + 1 AND b = 1", 6, "expected a comparison @, found `AND`"),
        ("b = 1 OR 5", 10, "expected a comparison @, found the end"),
        ("NOT 'x' AND a", 8, "expected a comparison @, found `AND`"),
        ("(1) AND a", 4, "expected a comparison @, found `AND`"),
        ("(a = 1) = TRUE", 0, "expected a value @, found a condition"),
        ("TRUE = (a = 1)", 7, "expected a value @, found a condition"),
        ("1 + (a = 1) > 1", 4, "expected a value @, found a condition"),
        ("-(a = 1) > 1", 1, "expected a value @, found a condition"),
        ("(NOT a) IS NULL", 0, "expected a value @, found a condition"),
        ("a IN (1, (b = 2))", 9, "expected a value @, found a condition"),
        ("a BETWEEN (b = 2) AND 3", 10, "expected a value @, found a condition"),
    ]);
}

#[test]
fn what_is_no_token_is_named() {
    assert_refused(&[
        ("a = 'x", 4, "unterminated text @"),
        ("a = 'it''s", 4, "unterminated text @"),
        ("a = '", 4, "unterminated text @"),
        ("\"a = 1", 0, "unterminated name @"),
        ("[a = 1", 0, "unterminated name @"),
        ("[a]] = 1", 0, "unterminated name @"),
        ("a <> \"\"", 5, "empty name (text stands in single quotes) @"),
        ("[] = 1", 0, "empty name (text stands in single quotes) @"),
        ("a = #", 4, "unknown character `#` @"),
        ("a ! b", 2, "unknown character `!` @"),
        ("a && b", 2, "unknown character `&` @"),
        ("é = 1", 0, "unknown character `é` @"),
        ("'é' = é", 6, "unknown character `é` @"),
        ("a = 1\u{0}", 5, "unknown character `\\0` @"),
        ("a = .", 4, "unknown character `.` @"),
        ("a = 1.", 6, "expected a digit @, found the end"),
        ("a = 1.x", 6, "expected a digit @, found `x`"),
        ("a = 1e", 6, "expected a digit @, found the end"),
        ("a = 1e+", 7, "expected a digit @, found the end"),
        ("a = 1.2.3", 7, "expected the number to end @, found `.`"),
        ("a = 12km", 6, "expected the number to end @, found `k`"),
        ("a = 0x10", 5, "expected the number to end @, found `x`"),
        ("a = 1e400", 4, "number out of range @"),
    ]);
}

#[test]
fn a_path_into_nested_fields_is_refused() {
    let problem = "a name has no path (only top-level fields; quote a name with dots) @";
    assert_refused(&[
        ("customer.name = 'x'", 8, problem),
        ("user.total > 1", 4, problem),
        ("[a].b = 1", 3, problem),
        ("\"a\".\"b\" = 1", 3, problem),
        ("a = b.1", 5, problem),
    ]);
}

#[test]
fn a_wrong_escape_is_refused() {
    assert_refused(&[
        ("a LIKE 'x' ESCAPE ''", 18, "ESCAPE takes exactly one character @"),
        ("a LIKE 'x' ESCAPE '!!'", 18, "ESCAPE takes exactly one character @"),
        ("a LIKE '10!x' ESCAPE '!'", 7, "escape before a character that needs none @"),
        ("a LIKE '10!' ESCAPE '!'", 7, "escape without a character after it @"),
    ]);
}

#[test]
fn length_nesting_and_items_are_bounded() {
    let padded = |length: usize| format!("{:length$}", "a = 1");
    assert!(SqlExpression::parse(&padded(4096)).is_ok());
    let long = padded(4097);
    let wide = "é".repeat(4097);

    let open = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(SqlExpression::parse(&open(64)).is_ok());
    let deep = open(65);
    let open_only = "(".repeat(4000);
    assert!(SqlExpression::parse(&format!("{}a", "NOT ".repeat(64))).is_ok());
    let nots = format!("{}a", "NOT ".repeat(1000));
    assert!(SqlExpression::parse(&format!("{}a = 1", "- ".repeat(64))).is_ok());
    let minuses = format!("{}a = 1", "- ".repeat(1000));
    let mixed = format!("{}a", "NOT (".repeat(500));

    let items = |count: usize| format!("a IN ({})", vec!["1"; count].join(","));
    assert!(SqlExpression::parse(&items(1000)).is_ok());
    let many = items(1001);

    assert_refused(&[
        (&long, 4096, "longer than 4096 characters @"),
        (&wide, 4096, "longer than 4096 characters @"),
        (&deep, 64, "more than 64 levels of nesting @"),
        (&open_only, 64, "more than 64 levels of nesting @"),
        (&nots, 256, "more than 64 levels of nesting @"),
        (&minuses, 128, "more than 64 levels of nesting @"),
        (&mixed, 160, "more than 64 levels of nesting @"),
        (&many, 2006, "more than 1000 values in IN @"),
    ]);
}
