//! Values as they are compared.

use super::ast::{Comparison, Literal};
use super::number::Number;
use super::truth::Truth;
use crate::headers::HeaderValue;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The value of an operand for one message.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    /// There, but not comparable: bytes and nested JSON.
    Opaque,
}

impl<'a> Value<'a> {
    /// The value of a body field.
    pub(super) fn from_json(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => text_from_json(text).map_or(Self::Opaque, Self::Text),
            Some(b'{' | b'[') => Self::Opaque,
            _ => Self::Number(Number::from_digits(text)),
        }
    }

    /// What the value is worth where a number is wanted.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => Number::from_json(text),
            Self::Null | Self::Bool(_) | Self::Opaque => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// `None` if the text is not Unicode: JSON can write half of a surrogate pair.
fn text_from_json(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    quoted.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

impl<'a> From<&'a HeaderValue> for Value<'a> {
    fn from(header: &'a HeaderValue) -> Self {
        match header {
            HeaderValue::Text(text) => Self::Text(Cow::Borrowed(text)),
            HeaderValue::Int(int) => Self::Number(Number::from(*int)),
            HeaderValue::Float(float) => Self::Number(Number::from_float(*float)),
            HeaderValue::Bool(bool) => Self::Bool(*bool),
            HeaderValue::Bytes(_) => Self::Opaque,
        }
    }
}

impl<'a> From<&'a Literal> for Value<'a> {
    fn from(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(bool) => Self::Bool(*bool),
            Literal::Number(number) => Self::Number(*number),
            Literal::Text(text) => Self::Text(Cow::Borrowed(text)),
        }
    }
}

/// Unknown unless both sides are of one kind; a text that holds a number is of both kinds.
pub(super) fn compare(left: &Value<'_>, by: Comparison, right: &Value<'_>) -> Truth {
    let ordering = match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => {
            let equality = matches!(by, Comparison::Equal | Comparison::NotEqual);
            equality.then(|| left.cmp(right))
        }
        _ => left.number().zip(right.number()).and_then(|(left, right)| left.partial_cmp(&right)),
    };
    ordering.map_or(Truth::Unknown, |ordering| by.holds(ordering).into())
}
