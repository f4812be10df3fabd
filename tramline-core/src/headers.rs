//! Headers: what travels beside the body.

use bytes::Bytes;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The value of one header.
///
/// Transports without typed headers carry everything as text; [`crate::wire::untyped()`] says how
/// each type is written there and read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderValue {
    /// Any unicode text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A binary floating-point number; never NaN or infinite.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Raw bytes.
    Bytes(Bytes),
}

impl HeaderValue {
    /// The text, if this is a text header.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number: an integer header, or a text header that holds one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Bytes that this value takes on the wire, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(_) | Self::Float(_) => 8,
            Self::Bool(_) => 1,
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for HeaderValue {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for HeaderValue {
    fn from(int: u32) -> Self {
        Self::Int(int.into())
    }
}

impl From<i32> for HeaderValue {
    fn from(int: i32) -> Self {
        Self::Int(int.into())
    }
}

/// A NaN or an infinity, which no broker carries, becomes text.
impl From<f64> for HeaderValue {
    fn from(float: f64) -> Self {
        if float.is_finite() { Self::Float(float) } else { Self::Text(float.to_string()) }
    }
}

impl From<bool> for HeaderValue {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<Bytes> for HeaderValue {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// Decimals travel as text, exactly: `Filter::sql` compares such text as a number.
impl From<Decimal> for HeaderValue {
    fn from(decimal: Decimal) -> Self {
        Self::Text(decimal.to_string())
    }
}

/// The headers of one message, sorted by name. Names are case-sensitive.
///
/// Also an extractor: a handler that takes `Headers` gets those of the message it handles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, HeaderValue>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of the header `name`.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.get(name)
    }

    /// The text of the header `name`, if it is there and is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// Sets a header; the value it replaces is returned.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        value: impl Into<HeaderValue>,
    ) -> Option<HeaderValue> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes a header out.
    pub fn remove(&mut self, name: &str) -> Option<HeaderValue> {
        self.0.remove(name)
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each header, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Bytes that names and values take on the wire, about.
    pub fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.size()).sum()
    }
}

/// By name.
impl IntoIterator for Headers {
    type Item = (String, HeaderValue);
    type IntoIter = std::collections::btree_map::IntoIter<String, HeaderValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<N: Into<String>, V: Into<HeaderValue>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
