//! Headers where the broker knows only bytes, as Kafka does.

use super::names;
use crate::headers::{HeaderValue, Headers};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a header is, where that is not to be seen from its bytes.
const INT: &str = "int";
const FLOAT: &str = "float";
const BOOL: &str = "bool";
const BYTES: &str = "bytes";

/// Headers as bytes: text as UTF-8, numbers as `42` and `0.5`, booleans as `true` and `false`.
///
/// So any client reads them without knowing us. The types, which filters compare by, travel beside
/// in `tramline_types`: `{"total":"int"}` names each of the user's headers that is not text.
pub fn untyped(headers: &Headers) -> Vec<(String, Bytes)> {
    let mut types = BTreeMap::new();
    let mut pairs = Vec::with_capacity(headers.len() + 1);
    for (name, value) in headers.iter() {
        let (kind, bytes) = match value {
            HeaderValue::Text(text) => (None, Bytes::copy_from_slice(text.as_bytes())),
            HeaderValue::Int(int) => (Some(INT), int.to_string().into()),
            // With its point, and back to the same bits.
            HeaderValue::Float(float) => (Some(FLOAT), format!("{float:?}").into()),
            HeaderValue::Bool(bool) => (Some(BOOL), bool.to_string().into()),
            HeaderValue::Bytes(bytes) => (Some(BYTES), bytes.clone()),
        };
        // Ours are read from text as well, so that their types need not travel.
        if let Some(kind) = kind
            && !names::is_reserved(name)
        {
            types.insert(name, kind);
        }
        pairs.push((name.to_owned(), bytes));
    }
    if !types.is_empty() {
        let json = serde_json::to_vec(&types).expect("a map of texts is JSON");
        pairs.push((names::TYPES.to_owned(), json.into()));
    }
    pairs
}

/// Headers with their types again. Without `tramline_types`, as foreign senders leave them, each is
/// text if it is UTF-8 and else bytes. Of several headers with one name the last counts.
pub fn typed(pairs: impl IntoIterator<Item = (String, Bytes)>) -> Headers {
    let pairs = pairs.into_iter().map(|(name, bytes)| (name, text_or_bytes(bytes)));
    let mut headers: Headers = pairs.collect();
    let types = headers.remove(names::TYPES);
    let types = types.as_ref().and_then(HeaderValue::as_text);
    let types: Option<BTreeMap<String, String>> =
        types.and_then(|json| serde_json::from_str(json).ok());
    for (name, kind) in types.unwrap_or_default() {
        let value = headers.get(&name).and_then(|value| restored(value.as_text()?, &kind));
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers
}

fn text_or_bytes(bytes: Bytes) -> HeaderValue {
    match std::str::from_utf8(&bytes) {
        Ok(text) => HeaderValue::Text(text.to_owned()),
        Err(_) => HeaderValue::Bytes(bytes),
    }
}

/// `None` if the text is not of that type: then somebody has changed it on the way.
fn restored(text: &str, kind: &str) -> Option<HeaderValue> {
    match kind {
        INT => text.parse().ok().map(HeaderValue::Int),
        FLOAT => text.parse().ok().filter(|float: &f64| float.is_finite()).map(HeaderValue::Float),
        BOOL => text.parse().ok().map(HeaderValue::Bool),
        BYTES => Some(HeaderValue::Bytes(Bytes::copy_from_slice(text.as_bytes()))),
        _ => None,
    }
}
