//! Promoted fields: top-level fields of a message that also travel as typed headers.

use crate::Failure;
use crate::codec::Encoding;
use crate::headers::{HeaderValue, Headers};
use crate::message::Message;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Adds the fields of `message` that [`Message::PROMOTE`] names. The sender's own header wins.
///
/// A null, an array or an object is not promoted: no broker can compare it.
pub(super) fn promote<M: Message>(
    message: &M,
    body: &[u8],
    encoding: &Encoding,
    headers: &mut Headers,
) -> Result<(), Failure> {
    if M::PROMOTE.is_empty() {
        return Ok(());
    }
    let fields = match encoding {
        Encoding::Json => fields::<M>(body),
        Encoding::Other(_) => serde_json::to_vec(message).and_then(|json| fields::<M>(&json)),
    };
    let fields = fields.map_err(|error| {
        let fields = M::PROMOTE.join(", ");
        Failure::permanent(format!("failed to promote {fields} of {}: {error}", M::NAME))
    })?;
    for (name, value) in fields {
        if headers.get(name).is_none()
            && let Some(value) = header(value)
        {
            headers.insert(name, value);
        }
    }
    Ok(())
}

fn header(value: Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => Some(HeaderValue::Text(text)),
        Value::Bool(bool) => Some(HeaderValue::Bool(bool)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(int) => HeaderValue::Int(int),
            None => HeaderValue::Float(number.as_f64()?),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The promoted fields alone: the rest of the body is skipped, not built.
fn fields<M: Message>(json: &[u8]) -> serde_json::Result<Vec<(&'static str, Value)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.deserialize_map(Promoted(M::PROMOTE))
}

struct Promoted(&'static [&'static str]);

impl<'de> Visitor<'de> for Promoted {
    type Value = Vec<(&'static str, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the promoted fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::with_capacity(self.0.len());
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.0.iter().find(|name| **name == key) {
                Some(name) => found.push((*name, map.next_value()?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}
