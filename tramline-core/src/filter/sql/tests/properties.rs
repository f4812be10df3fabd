//! Properties over generated expressions, against references that share no code with the language.

use super::super::expression::SqlExpression;
use super::super::truth::Truth;
use super::asking::truth;
use crate::filter::Facts;
use crate::headers::Headers;
use proptest::prelude::*;

const BODY: &str = r#"{"t": true, "f": false, "a": 7, "b": "2.5", "s": "text"}"#;

/// A condition as a tree, written without needless parentheses.
#[derive(Clone, Debug)]
enum Logic {
    Name(&'static str),
    IsNull(&'static str),
    Not(Box<Logic>),
    And(Box<Logic>, Box<Logic>),
    Or(Box<Logic>, Box<Logic>),
}

impl Logic {
    fn reference(&self) -> Option<bool> {
        match self {
            Self::Name(name) => match *name {
                "t" => Some(true),
                "f" => Some(false),
                _ => None,
            },
            Self::IsNull(name) => Some(*name == "u"),
            Self::Not(inner) => inner.reference().map(|bool| !bool),
            Self::And(left, right) => match (left.reference(), right.reference()) {
                (Some(left), Some(right)) => Some(left && right),
                (Some(false), None) | (None, Some(false)) => Some(false),
                _ => None,
            },
            Self::Or(left, right) => match (left.reference(), right.reference()) {
                (Some(left), Some(right)) => Some(left || right),
                (Some(true), None) | (None, Some(true)) => Some(true),
                _ => None,
            },
        }
    }

    fn written(&self, tightness: u8) -> String {
        let (own, text) = match self {
            Self::Name(name) => (3, (*name).to_owned()),
            Self::IsNull(name) => (3, format!("{name} IS NULL")),
            Self::Not(inner) => (2, format!("NOT {}", inner.written(2))),
            Self::And(left, right) => (1, format!("{} AND {}", left.written(1), right.written(1))),
            Self::Or(left, right) => (0, format!("{} OR {}", left.written(0), right.written(0))),
        };
        if own < tightness { format!("({text})") } else { text }
    }
}

fn logic() -> impl Strategy<Value = Logic> {
    let name = prop::sample::select(vec!["t", "f", "u"]);
    let leaf = prop_oneof![name.clone().prop_map(Logic::Name), name.prop_map(Logic::IsNull)];
    leaf.prop_recursive(6, 40, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|one| Logic::Not(Box::new(one))),
            pair.clone().prop_map(|(left, right)| Logic::And(Box::new(left), Box::new(right))),
            pair.prop_map(|(left, right)| Logic::Or(Box::new(left), Box::new(right))),
        ]
    })
}

/// A calculation with whole numbers as a tree, written without needless parentheses.
#[derive(Clone, Debug)]
enum Sum {
    Number(i64),
    Negative(Box<Sum>),
    Chain(char, Box<Sum>, Box<Sum>),
}

impl Sum {
    fn reference(&self) -> Option<i128> {
        match self {
            Self::Number(number) => Some((*number).into()),
            Self::Negative(inner) => Some(-inner.reference()?),
            Self::Chain(sign, left, right) => {
                let (left, right) = (left.reference()?, right.reference()?);
                match sign {
                    '+' => left.checked_add(right),
                    '-' => left.checked_sub(right),
                    '*' => left.checked_mul(right),
                    _ => left.checked_rem(right),
                }
            }
        }
    }

    fn written(&self, tightness: u8) -> String {
        let (own, text) = match self {
            Self::Number(number) => (3, number.to_string()),
            Self::Negative(inner) => (2, format!("-{}", inner.written(2))),
            Self::Chain(sign, left, right) => {
                let own = if matches!(sign, '+' | '-') { 0 } else { 1 };
                (own, format!("{} {sign} {}", left.written(own), right.written(own + 1)))
            }
        };
        if own < tightness { format!("({text})") } else { text }
    }
}

fn sum() -> impl Strategy<Value = Sum> {
    (0_i64..100).prop_map(Sum::Number).prop_recursive(4, 12, 2, |inner| {
        let sign = prop::sample::select(vec!['+', '-', '*', '%']);
        let chain = (sign, inner.clone(), inner.clone())
            .prop_map(|(sign, left, right)| Sum::Chain(sign, Box::new(left), Box::new(right)));
        prop_oneof![1 => inner.prop_map(|one| Sum::Negative(Box::new(one))), 4 => chain]
    })
}

/// Words that make expressions which are often valid and often nearly so.
fn soup() -> impl Strategy<Value = String> {
    let words = vec![
        "a", "b", "s", "t", "absent", "\"a b\"", "[x]", "'text'", "'7'", "''", "1", "2.5", "1e30",
        "0", "=", "<>", "<", ">=", "+", "-", "*", "/", "%", "(", ")", ",", "AND", "OR", "NOT",
        "IN", "LIKE", "'%t_'", "ESCAPE", "'!'", "BETWEEN", "IS", "NULL", "EXISTS", "TRUE", "FALSE",
        ".", "'", "\"",
    ];
    prop::collection::vec(prop::sample::select(words), 0..14).prop_map(|words| words.join(" "))
}

fn evaluate(text: &str) -> bool {
    match SqlExpression::parse(text) {
        Ok(parsed) => parsed.matches(&Facts::new("x", &Headers::new(), BODY.as_bytes())),
        Err(error) => {
            let position = error.position().expect("every fault of an expression has a place");
            assert!(position <= text.chars().count(), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn conditions_are_what_their_tree_says(logic in logic()) {
        let expected = match logic.reference() {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Unknown,
        };
        prop_assert_eq!(truth(&logic.written(0), &Headers::new(), BODY), expected);
    }

    #[test]
    fn calculations_are_what_their_tree_says(sum in sum()) {
        let text = sum.written(0);
        match sum.reference().filter(|worth| worth.unsigned_abs() < 1 << 90) {
            Some(worth) => prop_assert!(evaluate(&format!("{text} = {worth}")), "{text} = {worth}"),
            None => { evaluate(&format!("{text} = 0")); }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        evaluate(&text);
    }

    #[test]
    fn no_words_make_parser_or_evaluation_panic(text in soup()) {
        evaluate(&text);
    }

    #[test]
    fn a_double_negation_changes_nothing(text in soup()) {
        if SqlExpression::parse(&text).is_ok() {
            prop_assert_eq!(evaluate(&text), evaluate(&format!("NOT NOT ({text})")));
            let contradiction = format!("({text}) AND NOT ({text})");
            prop_assert!(!evaluate(&contradiction));
        }
    }

    #[test]
    fn no_body_makes_the_evaluation_panic(
        body in any::<Vec<u8>>(),
        field in "[\"{}\\[\\]:,a0-9.eE\\\\-]{0,12}",
    ) {
        let parsed = SqlExpression::parse("a > 1 OR a = 'x' OR -a IS NULL").unwrap();
        let object = format!("{{\"a\":{field}}}");
        for body in [&body, object.as_bytes()] {
            parsed.matches(&Facts::new("x", &Headers::new(), body));
        }
    }

    #[test]
    fn any_text_can_be_quoted(value in any::<String>()) {
        let text = format!("a = '{}'", value.replace('\'', "''"));
        prop_assume!(text.chars().count() <= 4096);
        let headers = Headers::from_iter([("a", value.as_str())]);
        let parsed = SqlExpression::parse(&text).unwrap();
        prop_assert!(parsed.matches(&Facts::new("x", &headers, b"")));
    }
}
