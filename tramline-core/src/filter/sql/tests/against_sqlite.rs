//! Generated conditions over generated messages, against SQLite's own evaluation of them.
//!
//! Where the language means something else than SQLite on purpose, conditions keep to what both
//! mean alike:
//!
//! - Every operand is of one type, known beforehand, or NULL. Here text against a number is
//!   unknown, unless it is written like one; SQLite puts every text above every number, and takes
//!   booleans for numbers.
//! - A number that travels as text (`promoted`) is a number for SQLite, and is compared with
//!   numbers that are none.
//! - Values stay where floats are exact, because SQLite calculates with them where the language
//!   has decimals: quarters, and divisors that are powers of two. `%` stands between whole numbers
//!   only, as SQLite cuts the rest off.
//! - `EXISTS(name)` is `name IS NOT NULL` to SQLite, and its LIKE is told to mind the case.

use super::super::truth::Truth;
use super::asking::truth;
use crate::headers::{HeaderValue, Headers};
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

const WHOLES: [&str; 2] = ["w", "whole"];
const NUMBERS: [&str; 2] = ["n", "promoted"];
const TEXTS: [&str; 2] = ["t", "text"];
const BOOLS: [&str; 2] = ["b", "flag"];

/// An expression in both dialects. How tightly it binds says where it needs parentheses.
#[derive(Clone, Debug)]
struct Written {
    ours: String,
    sqlite: String,
    binds: u8,
}

const OR: u8 = 0;
const AND: u8 = 1;
const NOT: u8 = 2;
const PREDICATE: u8 = 3;
const SUM: u8 = 4;
const PRODUCT: u8 = 5;
const NEGATIVE: u8 = 6;
const VALUE: u8 = 7;

impl Written {
    fn same(text: impl Into<String>, binds: u8) -> Self {
        let text = text.into();
        Self { ours: text.clone(), sqlite: text, binds }
    }

    /// In parentheses if it binds less tightly than `binds`.
    fn within(&self, binds: u8) -> Self {
        if self.binds >= binds {
            return self.clone();
        }
        let Self { ours, sqlite, .. } = self;
        Self { ours: format!("({ours})"), sqlite: format!("({sqlite})"), binds: VALUE }
    }

    /// `parts`, each as tight as it must be, with `words` before, between and after them.
    fn joined(words: &[&str], parts: &[Self], inner: u8, binds: u8) -> Self {
        let mut joined = Self::same(words[0], binds);
        for (part, word) in parts.iter().zip(&words[1..]) {
            let part = part.within(inner);
            joined.ours += &(part.ours + word);
            joined.sqlite += &(part.sqlite + word);
        }
        joined
    }
}

fn null_or(values: impl Strategy<Value = Written> + 'static) -> BoxedStrategy<Written> {
    prop_oneof![19 => values, 1 => Just(Written::same("NULL", VALUE))].boxed()
}

fn name(names: [&'static str; 2]) -> impl Strategy<Value = Written> {
    let quotes = select(vec![("", ""), ("", ""), ("\"", "\""), ("[", "]")]);
    (select(names.to_vec()), quotes)
        .prop_map(|(name, (open, close))| Written::same(format!("{open}{name}{close}"), VALUE))
}

/// Whole numbers, of which SQLite knows that they are.
fn whole() -> BoxedStrategy<Written> {
    let literal = (0_u8..10).prop_map(|number| Written::same(number.to_string(), VALUE));
    let leaf = null_or(prop_oneof![literal, name(WHOLES)]);
    calculations(leaf, &["+", "-", "*", "%"])
}

/// Any numbers, floats to SQLite, so that it divides them as floats.
fn number() -> BoxedStrategy<Written> {
    let literal = (0_u8..40).prop_map(|quarters| {
        let number = f64::from(quarters) / 4.0;
        Written { ours: number.to_string(), sqlite: format!("{number:?}"), binds: VALUE }
    });
    let leaf = null_or(prop_oneof![literal, name(NUMBERS)]);
    let divisor = select(vec!["0", "0.5", "2", "4"]);
    let divided = (leaf.clone(), divisor).prop_map(|(left, right)| Written {
        ours: format!("{} / {right}", left.ours),
        sqlite: format!("{} / ({right} * 1.0)", left.sqlite),
        binds: PRODUCT,
    });
    calculations(prop_oneof![4 => leaf, 1 => divided].boxed(), &["+", "-", "*"])
}

fn calculations(
    leaf: BoxedStrategy<Written>,
    signs: &'static [&'static str],
) -> BoxedStrategy<Written> {
    let calculation = leaf.prop_recursive(3, 8, 2, move |inner| {
        let chain = (inner.clone(), select(signs), inner.clone());
        let chain = chain.prop_map(|(left, sign, right)| {
            let binds = if matches!(sign, "+" | "-") { SUM } else { PRODUCT };
            let parts = [left.within(binds), right.within(binds + 1)];
            Written::joined(&["", &format!(" {sign} "), ""], &parts, SUM, binds)
        });
        // With a blank, because two signs in a row begin a comment in SQLite.
        let negative =
            inner.prop_map(|inner| Written::joined(&["- ", ""], &[inner], NEGATIVE, NEGATIVE));
        prop_oneof![4 => chain, 1 => negative]
    });
    calculation.boxed()
}

fn text() -> BoxedStrategy<Written> {
    let literal = texts().prop_map(|text| Written::same(quoted(&text), VALUE));
    null_or(prop_oneof![literal, name(TEXTS)])
}

fn boolean() -> BoxedStrategy<Written> {
    let literal = any::<bool>().prop_map(|bool| Written::same(bool.to_string(), VALUE));
    null_or(prop_oneof![1 => literal, 3 => name(BOOLS)])
}

/// Few letters, so that texts are often equal or alike; some are written like numbers.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[abAé'%_!]{0,4}", "[0-9]{1,2}"]
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn condition() -> impl Strategy<Value = Written> {
    let leaf = prop_oneof![
        4 => comparison(whole(), &["=", "<>", "!=", "<", "<=", ">", ">="]),
        4 => comparison(number(), &["=", "<>", "!=", "<", "<=", ">", ">="]),
        4 => comparison(text(), &["=", "<>", "!=", "<", "<=", ">", ">="]),
        2 => comparison(boolean(), &["=", "<>", "!="]),
        2 => between(whole()),
        2 => between(number()),
        2 => between(text()),
        2 => among(whole()),
        2 => among(text()),
        2 => among(boolean()),
        2 => is_null(prop_oneof![whole(), number(), text(), boolean()].boxed()),
        2 => like(),
        1 => exists(),
        2 => boolean(),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|inner| Written::joined(&["NOT ", ""], &[inner], NOT, NOT)),
            several().prop_map(|all| chained(&all, " AND ", AND)),
            several().prop_map(|any| chained(&any, " OR ", OR)),
        ]
    })
}

fn chained(parts: &[Written], word: &str, binds: u8) -> Written {
    let mut words = vec![word; parts.len() + 1];
    (words[0], words[parts.len()]) = ("", "");
    Written::joined(&words, parts, binds, binds)
}

fn comparison(
    operand: BoxedStrategy<Written>,
    signs: &'static [&'static str],
) -> impl Strategy<Value = Written> {
    (operand.clone(), select(signs), operand).prop_map(|(left, sign, right)| {
        Written::joined(&["", &format!(" {sign} "), ""], &[left, right], SUM, PREDICATE)
    })
}

fn negation() -> impl Strategy<Value = &'static str> {
    select(vec!["", "NOT "])
}

fn between(operand: BoxedStrategy<Written>) -> impl Strategy<Value = Written> {
    (operand.clone(), negation(), operand.clone(), operand).prop_map(|(left, not, low, high)| {
        let words = ["", &format!(" {not}BETWEEN "), " AND ", ""];
        Written::joined(&words, &[left, low, high], SUM, PREDICATE)
    })
}

fn among(operand: BoxedStrategy<Written>) -> impl Strategy<Value = Written> {
    let items = prop::collection::vec(operand.clone(), 1..4);
    (operand, negation(), items).prop_map(|(left, not, items)| {
        let items =
            chained(&items.iter().map(|item| item.within(SUM)).collect::<Vec<_>>(), ", ", 0);
        let words = ["", &format!(" {not}IN ("), ")"];
        Written::joined(&words, &[left.within(SUM), items], 0, PREDICATE)
    })
}

fn is_null(operand: BoxedStrategy<Written>) -> impl Strategy<Value = Written> {
    (operand, negation()).prop_map(|(operand, not)| {
        Written::joined(&["", &format!(" IS {not}NULL")], &[operand], SUM, PREDICATE)
    })
}

fn exists() -> impl Strategy<Value = Written> {
    prop_oneof![name(WHOLES), name(NUMBERS), name(TEXTS), name(BOOLS)].prop_map(|name| Written {
        ours: format!("EXISTS({})", name.ours),
        sqlite: format!("{} IS NOT NULL", name.sqlite),
        binds: PREDICATE,
    })
}

/// A pattern out of pieces; what stands for itself is escaped if it must be.
fn like() -> impl Strategy<Value = Written> {
    let pieces =
        prop::collection::vec(select(vec!["%", "_", "a", "b", "A", "é", "!%", "!!"]), 0..5);
    (text(), negation(), pieces).prop_map(|(left, not, pieces)| {
        let pattern = pieces.concat();
        let escape = if pattern.contains('!') { " ESCAPE '!'" } else { "" };
        let words = ["", &format!(" {not}LIKE '{pattern}'{escape}")];
        Written::joined(&words, &[left], SUM, PREDICATE)
    })
}

/// One value of a message: how it travels, and what it is to SQLite.
#[derive(Clone, Debug)]
enum Travels {
    Header(HeaderValue),
    Field(String),
    Absent,
}

fn whole_value() -> impl Strategy<Value = (Travels, Value)> {
    (-20_i64..20, any::<bool>()).prop_map(|(whole, in_header)| {
        let travels = if in_header {
            Travels::Header(whole.into())
        } else {
            Travels::Field(whole.to_string())
        };
        (travels, Value::Integer(whole))
    })
}

fn number_value() -> impl Strategy<Value = (Travels, Value)> {
    (-80_i32..80, any::<bool>()).prop_map(|(quarters, in_header)| {
        let number = f64::from(quarters) / 4.0;
        let travels = if in_header {
            Travels::Header(number.into())
        } else {
            Travels::Field(format!("{number:e}"))
        };
        (travels, Value::Real(number))
    })
}

fn promoted_value() -> impl Strategy<Value = (Travels, Value)> {
    (-80_i32..80, any::<bool>()).prop_map(|(quarters, in_header)| {
        let number = f64::from(quarters) / 4.0;
        let text = format!("{number:.2}");
        let travels = if in_header {
            Travels::Header(text.into())
        } else {
            Travels::Field(format!("\"{text}\""))
        };
        (travels, Value::Real(number))
    })
}

fn text_value() -> impl Strategy<Value = (Travels, Value)> {
    (texts(), any::<bool>()).prop_map(|(text, in_header)| {
        let travels = if in_header {
            Travels::Header(text.as_str().into())
        } else {
            Travels::Field(serde_json::to_string(&text).expect("text is JSON"))
        };
        (travels, Value::Text(text))
    })
}

fn bool_value() -> impl Strategy<Value = (Travels, Value)> {
    any::<[bool; 2]>().prop_map(|[bool, in_header]| {
        let travels =
            if in_header { Travels::Header(bool.into()) } else { Travels::Field(bool.to_string()) };
        (travels, Value::Integer(bool.into()))
    })
}

fn maybe(
    value: impl Strategy<Value = (Travels, Value)> + 'static,
) -> BoxedStrategy<(Travels, Value)> {
    prop_oneof![
        6 => value,
        1 => Just((Travels::Absent, Value::Null)),
        1 => Just((Travels::Field("null".to_owned()), Value::Null)),
    ]
    .boxed()
}

/// Every name with its value.
fn row() -> impl Strategy<Value = BTreeMap<&'static str, (Travels, Value)>> {
    let wholes = [maybe(whole_value()), maybe(whole_value())];
    let texts = [maybe(text_value()), maybe(text_value())];
    let bools = [maybe(bool_value()), maybe(bool_value())];
    (wholes, maybe(number_value()), maybe(promoted_value()), texts, bools).prop_map(
        |(wholes, number, promoted, texts, bools)| {
            let names = [WHOLES, NUMBERS, TEXTS, BOOLS].concat();
            let values = [wholes, [number, promoted], texts, bools].concat();
            names.into_iter().zip(values).collect()
        },
    )
}

/// Headers and body. Of a header's name the body holds something else, which does not count.
fn message(row: &BTreeMap<&str, (Travels, Value)>) -> (Headers, String) {
    let mut headers = Headers::new();
    let mut body = "{".to_owned();
    for (name, (travels, _)) in row {
        let field = match travels {
            Travels::Absent => continue,
            Travels::Field(field) => field,
            Travels::Header(value) => {
                headers.insert(*name, value.clone());
                r#"{"not": "this"}"#
            }
        };
        let comma = if body.len() > 1 { "," } else { "" };
        write!(body, "{comma}\"{name}\":{field}").expect("a text takes all");
    }
    (headers, body + "}")
}

struct Sqlite(Connection);

impl Sqlite {
    fn open() -> Self {
        let connection = Connection::open_in_memory().expect("memory is there");
        connection.pragma_update(None, "case_sensitive_like", true).expect("SQLite knows it");
        Self(connection)
    }

    fn truth(&self, condition: &str, row: &BTreeMap<&str, (Travels, Value)>) -> Truth {
        // Parameters have no type of their own, so that nothing is converted before it is compared.
        let columns: Vec<String> = row.keys().map(|name| format!("? AS \"{name}\"")).collect();
        let query = format!("SELECT {condition} FROM (SELECT {})", columns.join(", "));
        let values = rusqlite::params_from_iter(row.values().map(|(_, value)| value));
        let answer = self.0.query_row(&query, values, |row| row.get::<_, Option<bool>>(0));
        match answer.unwrap_or_else(|error| panic!("{condition}: {error}")) {
            Some(bool) => bool.into(),
            None => Truth::Unknown,
        }
    }
}

#[test]
fn conditions_are_what_they_are_to_sqlite() {
    let sqlite = Sqlite::open();
    proptest!(ProptestConfig::with_cases(3000), |(condition in condition(), row in row())| {
        prop_assume!(condition.ours.len() <= 4000);
        let (headers, body) = message(&row);
        let expected = sqlite.truth(&condition.sqlite, &row);
        let found = truth(&condition.ours, &headers, &body);
        prop_assert_eq!(found, expected, "{} of {:?} and {}", condition.ours, headers, body);
    });
}
