//! Headers as bytes, with their types beside them.

use super::samples::{full_envelope, full_record, headers};
use crate::headers::{HeaderValue, Headers};
use crate::wire::{Native, names, typed, untyped, write};
use bytes::Bytes;
use proptest::prelude::*;

fn pairs(texts: &[(&str, &'static str)]) -> Vec<(String, Bytes)> {
    texts
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Bytes::from_static(text.as_bytes())))
        .collect()
}

#[test]
fn values_are_written_as_any_client_reads_them() {
    let headers = Headers::from_iter([
        ("a", HeaderValue::from("007")),
        ("b", HeaderValue::Int(-7)),
        ("c", HeaderValue::Float(3.0)),
        ("d", HeaderValue::Bool(true)),
        ("e", HeaderValue::Bytes(Bytes::from_static(b"raw"))),
    ]);
    let types = r#"{"b":"int","c":"float","d":"bool","e":"bytes"}"#;
    let texts = [("a", "007"), ("b", "-7"), ("c", "3.0"), ("d", "true"), ("e", "raw")];
    let mut expected = pairs(&texts);
    expected.push((names::TYPES.to_owned(), Bytes::from_static(types.as_bytes())));
    assert_eq!(untyped(&headers), expected);
    assert_eq!(typed(expected), headers);
}

#[test]
fn our_own_headers_need_no_types() {
    let mut headers = write(&full_envelope(), &full_record(), &Native::default());
    headers.remove(names::RETRY_COUNT);
    let pairs = untyped(&headers);
    assert!(pairs.iter().all(|(name, _)| name != names::TYPES), "{pairs:?}");
}

#[test]
fn without_types_headers_are_text_or_else_bytes() {
    let mut foreign = pairs(&[("n", "7"), ("twice", "first"), ("twice", "last")]);
    foreign.push(("raw".to_owned(), Bytes::from_static(b"\xff")));
    let expected = Headers::from_iter([
        ("n", HeaderValue::from("7")),
        ("twice", HeaderValue::from("last")),
        ("raw", HeaderValue::Bytes(Bytes::from_static(b"\xff"))),
    ]);
    assert_eq!(typed(foreign), expected);
}

#[test]
fn a_value_that_is_not_of_its_type_any_more_stays_text() {
    let types = r#"{"a":"int","b":"float","c":"bool","d":"decimal","gone":"int"}"#;
    for types in [types, "{", r#"["a"]"#] {
        let texts = [("a", "7.5"), ("b", "NaN"), ("c", "yes"), ("d", "1"), (names::TYPES, types)];
        let expected = [("a", "7.5"), ("b", "NaN"), ("c", "yes"), ("d", "1")];
        assert_eq!(typed(pairs(&texts)), Headers::from_iter(expected), "{types}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn types_survive_as_bytes(headers in headers()) {
        prop_assert_eq!(typed(untyped(&headers)), headers);
    }
}
