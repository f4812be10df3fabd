//! The fields of a body that an expression names.

use super::ast::{NameIndex, Names};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The named fields of a JSON object, by index; nothing is copied or decoded.
///
/// Of fields with the same name the last counts. Anything but exactly one JSON object in UTF-8
/// has no fields.
pub(super) fn fields<'b>(body: &'b [u8], names: &Names) -> Vec<Option<&'b RawValue>> {
    let none = || vec![None; names.count()];
    let Ok(text) = std::str::from_utf8(body) else {
        return none();
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let wanted = Wanted { names, found: none() };
    let fields = json.deserialize_map(wanted).and_then(|fields| json.end().map(|()| fields));
    fields.unwrap_or_else(|_| none())
}

struct Wanted<'n, 'b> {
    names: &'n Names,
    found: Vec<Option<&'b RawValue>>,
}

impl<'b> Visitor<'b> for Wanted<'_, 'b> {
    type Value = Vec<Option<&'b RawValue>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'b>>(mut self, mut object: M) -> Result<Self::Value, M::Error> {
        while let Some(index) = object.next_key_seed(Key(self.names))? {
            match index {
                Some(index) => self.found[index] = Some(object.next_value()?),
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self.found)
    }
}

/// Looks a key up while it is still in the parser's buffer.
struct Key<'n>(&'n Names);

impl<'b> DeserializeSeed<'b> for Key<'_> {
    type Value = Option<NameIndex>;

    fn deserialize<D: Deserializer<'b>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<NameIndex>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.index(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(body: &[u8], wanted: &[&str]) -> Vec<Option<String>> {
        let mut names = Names::default();
        wanted.iter().for_each(|name| assert!(names.add(name) < wanted.len()));
        let found = fields(body, &names);
        found.into_iter().map(|raw| raw.map(|raw| raw.get().to_owned())).collect()
    }

    #[test]
    fn named_top_level_fields_are_found_as_written() {
        let body = br#" {"a": 1.50 ,"b":{"a":2},"c":[ "a" ],"":null,"\u0064" : "x\n"} "#;
        let found = raw(body, &["a", "b", "c", "d", "", "e"]);
        let found = found.iter().map(Option::as_deref).collect::<Vec<_>>();
        let expected = [
            Some("1.50"),
            Some(r#"{"a":2}"#),
            Some(r#"[ "a" ]"#),
            Some(r#""x\n""#),
            Some("null"),
            None,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_last_of_two_fields_counts() {
        assert_eq!(raw(br#"{"a":1,"b":2,"a":3}"#, &["a"]), [Some("3".to_owned())]);
    }

    #[test]
    fn a_body_that_is_not_one_json_object_has_no_fields() {
        for body in [
            &b""[..],
            b" ",
            b"a",
            b"null",
            b"1",
            br#""a""#,
            br#"["a"]"#,
            br#"[{"a":1}]"#,
            b"{",
            br#"{"a":1"#,
            br#"{"a":1,}"#,
            br#"{"a":1} x"#,
            br#"{"a":1}{}"#,
            br#"{"a":01}"#,
            br#"{"a":1,"b":tru}"#,
            br#"{'a':1}"#,
            b"{\"a\":1,\"b\":\"\xff\"}",
            b"\xff\xfe{\"a\":1}",
        ] {
            assert_eq!(raw(body, &["a"]), [None], "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn deep_nesting_in_a_body_is_harmless() {
        let deep = format!(r#"{{"b":{}{},"a":1}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(raw(deep.as_bytes(), &["a"]), [Some("1".to_owned())]);
        assert!(raw(deep.as_bytes(), &["b"])[0].is_some());
    }
}
