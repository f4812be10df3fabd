//! What an expression is for one message.

use super::ast::{Arithmetic, Comparison, Condition, NameIndex, Names, Operand};
use super::body;
use super::number::Number;
use super::truth::Truth;
use super::value::{Value, compare};
use crate::filter::Facts;
use serde_json::value::RawValue;
use std::cell::OnceCell;

/// One evaluation, which reads the body at most once.
pub(super) struct Evaluation<'e> {
    names: &'e Names,
    facts: &'e Facts<'e>,
    fields: OnceCell<Vec<Option<&'e RawValue>>>,
}

impl<'e> Evaluation<'e> {
    pub(super) fn new(names: &'e Names, facts: &'e Facts<'e>) -> Self {
        Self { names, facts, fields: OnceCell::new() }
    }

    pub(super) fn condition(&self, condition: &Condition) -> Truth {
        match condition {
            Condition::Any(all) => Truth::any(all.iter().map(|one| self.condition(one))),
            Condition::All(all) => Truth::all(all.iter().map(|one| self.condition(one))),
            Condition::Not(inner) => self.condition(inner).negated(),
            Condition::Compare { left, by, right } => {
                compare(&self.value(left), *by, &self.value(right))
            }
            Condition::In { operand, items, negated } => {
                self.is_in(operand, items).negated_if(*negated)
            }
            Condition::Between { operand, low, high, negated } => {
                self.is_between(operand, low, high).negated_if(*negated)
            }
            Condition::Like { operand, pattern, negated } => match self.value(operand) {
                Value::Text(text) => Truth::from(pattern.matches(&text)).negated_if(*negated),
                _ => Truth::Unknown,
            },
            Condition::IsNull { operand, negated } => {
                Truth::from(self.value(operand).is_null()).negated_if(*negated)
            }
            Condition::Holds(operand) => match self.value(operand) {
                Value::Bool(bool) => bool.into(),
                _ => Truth::Unknown,
            },
        }
    }

    fn is_in(&self, operand: &Operand, items: &[Operand]) -> Truth {
        let value = self.value(operand);
        Truth::any(items.iter().map(|item| compare(&value, Comparison::Equal, &self.value(item))))
    }

    fn is_between(&self, operand: &Operand, low: &Operand, high: &Operand) -> Truth {
        let value = self.value(operand);
        let above = compare(&value, Comparison::GreaterOrEqual, &self.value(low));
        above.min(compare(&value, Comparison::LessOrEqual, &self.value(high)))
    }

    fn value<'s>(&'s self, operand: &'s Operand) -> Value<'s> {
        match operand {
            Operand::Name(name) => self.named(*name),
            Operand::Literal(literal) => literal.into(),
            Operand::Negative(inner) => {
                let number = self.value(inner).number().map(Number::negative);
                number.map_or(Value::Null, Value::Number)
            }
            Operand::Arithmetic { first, rest } => {
                self.calculated(first, rest).map_or(Value::Null, Value::Number)
            }
        }
    }

    fn named(&self, name: NameIndex) -> Value<'e> {
        if let Some(header) = self.facts.headers.get(self.names.name(name)) {
            return header.into();
        }
        let fields = self.fields.get_or_init(|| body::fields(self.facts.body, self.names));
        fields[name].map_or(Value::Null, Value::from_json)
    }

    fn calculated(&self, first: &Operand, rest: &[(Arithmetic, Operand)]) -> Option<Number> {
        let mut result = self.value(first).number()?;
        for (by, right) in rest {
            result = result.calculate(*by, self.value(right).number()?)?;
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser;
    use super::*;
    use crate::headers::Headers;

    #[test]
    fn the_body_is_read_only_for_a_name_that_is_no_header() {
        let headers = Headers::from_iter([("region", "eu"), ("total", "5")]);
        let facts = Facts::new("orders.placed", &headers, br#"{"tier": 1}"#);
        for (text, reads_body) in [
            ("TRUE", false),
            ("region = 'eu' AND total > 1", false),
            ("region = 'us' AND tier = 1", false),
            ("region = 'eu' OR tier = 1", false),
            ("EXISTS(region)", false),
            ("region = 'eu' AND tier = 1", true),
            ("absent IS NULL", true),
        ] {
            let (condition, names) = parser::parse(text).unwrap();
            let evaluation = Evaluation::new(&names, &facts);
            evaluation.condition(&condition);
            assert_eq!(evaluation.fields.get().is_some(), reads_body, "{text}");
        }
    }
}
