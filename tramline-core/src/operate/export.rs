//! A message that was looked at, as a line of JSON.

use super::Peeked;
use crate::clock::Timestamp;
use crate::dead::DeathRecord;
use crate::envelope::Envelope;
use crate::headers::{HeaderValue, Headers};
use crate::{Error, ErrorKind, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// One line. Which of the two bodies it has says what the body is.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    position: i64,
    /// Without headers and body, which have forms of their own.
    message: Cow<'a, Envelope>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    headers: Map<String, Value>,
    /// JSON, byte by byte as it is.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    /// All else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    death: Option<DeathRecord>,
}

/// A body of `null` is one.
fn some<'de, D: Deserializer<'de>>(body: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(body).map(Some)
}

impl Peeked {
    /// All that is known of the message, as one line of JSON without its end.
    ///
    /// `message` holds its metadata, with times in microseconds since 1970; `headers` the user's, as
    /// JSON of their types, and bytes as `{"base64": …}`; `body` a body that is JSON, as it is, and
    /// `body_base64` any other; `death` why, when and after which failures it died.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use tramline_core::{envelope::Envelope, headers::Headers, operate::Peeked};
    /// let envelope = Envelope {
    ///     id: Some("order-7".parse()?),
    ///     version: 1,
    ///     headers: Headers::from_iter([("tenant", "eu")]),
    ///     body: Bytes::from_static(b"{\"total\": 19.90}"),
    ///     ..Envelope::default()
    /// };
    /// let dead =
    ///     Peeked { position: 1, envelope: envelope.into(), failures: 3, due: None, death: None };
    /// let line = dead.to_json_line();
    /// let body = r#""body":{"total": 19.90},"failures":3}"#;
    /// let head = r#"{"position":1,"message":{"id":"order-7"},"headers":{"tenant":"eu"},"#;
    /// assert_eq!(line, format!("{head}{body}"));
    /// assert_eq!(Peeked::from_json_line(&line)?, dead);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json_line(&self) -> String {
        let body = as_json(&self.envelope.body);
        let line = Line {
            position: self.position,
            message: Cow::Owned(Envelope {
                headers: Headers::new(),
                body: Bytes::new(),
                ..Envelope::clone(&self.envelope)
            }),
            headers: headers_json(&self.envelope.headers),
            body,
            body_base64: body.is_none().then(|| BASE64.encode(&self.envelope.body)),
            failures: self.failures,
            due: self.due,
            death: self.death.clone(),
        };
        serde_json::to_string(&line).expect("texts, numbers and JSON")
    }

    /// Reads what [`to_json_line`](Self::to_json_line) has written.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] says where the line is not one.
    pub fn from_json_line(line: &str) -> Result<Self> {
        let doing = "read a message from a line of JSON";
        let corrupt = |why: String| Error::new(ErrorKind::Corrupt, doing).because(why);
        let line: Line<'_> =
            serde_json::from_str(line).map_err(|error| corrupt(error.to_string()))?;
        let body = match (line.body, line.body_base64) {
            (Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text)) => decoded(&text).map_err(corrupt)?,
            _ => {
                return Err(corrupt("it has neither `body` nor `body_base64`, or both".to_owned()));
            }
        };
        let headers = line.headers.into_iter().map(|(name, value)| {
            let value = header(value).map_err(|why| format!("header {name}: {why}"))?;
            Ok((name, value))
        });
        let headers = headers.collect::<Result<Headers, String>>().map_err(corrupt)?;
        Ok(Self {
            position: line.position,
            envelope: Arc::new(Envelope { headers, body, ..line.message.into_owned() }),
            failures: line.failures,
            due: line.due,
            death: line.death,
        })
    }
}

/// The body, if it is JSON that stands on one line, and nothing around it.
fn as_json(body: &[u8]) -> Option<&RawValue> {
    let text = std::str::from_utf8(body).ok()?;
    let json: &RawValue = serde_json::from_str(text).ok()?;
    (json.get().len() == text.len() && !text.contains(['\n', '\r'])).then_some(json)
}

fn headers_json(headers: &Headers) -> Map<String, Value> {
    headers.iter().map(|(name, value)| (name.to_owned(), header_json(value))).collect()
}

fn header_json(value: &HeaderValue) -> Value {
    match value {
        HeaderValue::Text(text) => text.as_str().into(),
        HeaderValue::Int(int) => (*int).into(),
        HeaderValue::Float(float) if float.is_finite() => (*float).into(),
        HeaderValue::Float(float) => float.to_string().into(),
        HeaderValue::Bool(truth) => (*truth).into(),
        HeaderValue::Bytes(bytes) => {
            Map::from_iter([("base64".to_owned(), BASE64.encode(bytes).into())]).into()
        }
    }
}

fn header(value: Value) -> Result<HeaderValue, String> {
    Ok(match value {
        Value::String(text) => HeaderValue::Text(text),
        Value::Bool(truth) => HeaderValue::Bool(truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => HeaderValue::Int(int),
            (None, Some(float)) => HeaderValue::Float(float),
            (None, None) => return Err(format!("{number} is no number of a header")),
        },
        Value::Object(pairs) => match pairs.get("base64").and_then(Value::as_str) {
            Some(text) if pairs.len() == 1 => HeaderValue::Bytes(decoded(text)?),
            _ => return Err("an object can only be `{\"base64\": …}`".to_owned()),
        },
        Value::Null | Value::Array(_) => return Err(format!("{value} is no header")),
    })
}

fn decoded(text: &str) -> Result<Bytes, String> {
    BASE64.decode(text).map(Bytes::from).map_err(|error| format!("no base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::{FailureNote, History, Reason};
    use crate::envelope::Via;
    use crate::name::TopicName;
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    fn line(body: &'static [u8]) -> String {
        let envelope = Envelope { version: 1, body: body.into(), ..Envelope::default() };
        let envelope = envelope.into();
        Peeked { position: 4, envelope, failures: 0, due: None, death: None }.to_json_line()
    }

    #[test]
    fn a_body_that_is_json_stands_there_as_it_is_and_any_other_as_base64() {
        for (body, written) in [
            (&b"{\"total\": 1e3,  \"total\": 2}"[..], r#""body":{"total": 1e3,  "total": 2}"#),
            (b"null", r#""body":null"#),
            (b"123456789012345678901234567890.10", r#""body":123456789012345678901234567890.10"#),
            (b"\"a\\u00e9\xc3\xa9\"", "\"body\":\"a\\u00e9é\""),
            (b"", r#""body_base64":"""#),
            (b"{\n}", r#""body_base64":"ewp9""#),
            (b" 1", r#""body_base64":"IDE=""#),
            (b"hello", r#""body_base64":"aGVsbG8=""#),
            (b"\"\xff\"", r#""body_base64":"Iv8i""#),
        ] {
            let line = line(body);
            assert_eq!(line, format!(r#"{{"position":4,"message":{{}},{written},"failures":0}}"#));
            assert_eq!(Peeked::from_json_line(&line).unwrap().envelope.body, body);
        }
    }

    #[test]
    fn why_it_died_is_there_in_words() {
        let mut history = History::new();
        let at = Timestamp::from_millis(7);
        history.push(FailureNote { at, failure: 1, error: "declined".to_owned() });
        let reason = Reason::Exhausted;
        let death =
            DeathRecord { reason, failures: 1, history, first_failed_at: Some(at), failed_at: at };
        let dead = Peeked { death: Some(death), ..Peeked::from_json_line(&line(b"1")).unwrap() };
        let line = dead.to_json_line();
        for expected in [
            r#""death":{"reason":"exhausted","failures":1,"#,
            r#""history":[{"at":7000,"failure":1,"error":"declined"}],"#,
            r#""first_failed_at":7000,"failed_at":7000}"#,
        ] {
            assert!(line.contains(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_such_line_is_refused_with_the_place() {
        for (text, why) in [
            ("", "EOF"),
            (r#"{"position":1,"message":{},"failures":0}"#, "neither `body` nor"),
            (r#"{"position":1,"message":{},"body":1,"body_base64":"","failures":0}"#, "or both"),
            (r#"{"position":1,"message":{},"body_base64":"?","failures":0}"#, "no base64"),
            (r#"{"position":1,"message":{},"headers":{"a":[]},"body":1,"failures":0}"#, "header a"),
        ] {
            let error = Peeked::from_json_line(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    fn value() -> impl Strategy<Value = HeaderValue> {
        prop_oneof![
            any::<String>().prop_map(HeaderValue::Text),
            any::<i64>().prop_map(HeaderValue::Int),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Into::into),
            any::<bool>().prop_map(HeaderValue::Bool),
            any::<Vec<u8>>().prop_map(|bytes| HeaderValue::Bytes(bytes.into())),
        ]
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        any::<i64>().prop_map(Timestamp::from_micros)
    }

    prop_compose! {
        fn death()(
            reason in any::<String>(),
            failures in any::<u32>(),
            first_failed_at in option::of(moment()),
            failed_at in moment(),
            notes in vec((moment(), any::<u32>(), any::<String>()), 0..3),
        ) -> DeathRecord {
            let mut history = History::new();
            for (at, failure, error) in notes {
                history.push(FailureNote { at, failure, error });
            }
            DeathRecord { reason: reason.into(), failures, history, first_failed_at, failed_at }
        }
    }

    prop_compose! {
        fn envelope()(
            id in option::of("[a-z]{1,9}"),
            texts in vec(option::of(any::<String>()), 7),
            version in any::<u32>(),
            moments in vec(option::of(moment()), 2),
            priority in option::of(any::<u8>()),
            headers in btree_map(any::<String>(), value(), 0..5),
            body in prop_oneof![any::<Vec<u8>>(), "[0-9\\[\\]{}\", ntul\n]{0,6}".prop_map(Vec::from)],
        ) -> Envelope {
            let text = |place: usize| texts[place].clone();
            Envelope {
                id: id.as_deref().map(|id| id.parse().unwrap()),
                causation_id: id.map(|id| id.parse().unwrap()),
                name: text(0).map(Into::into),
                content_type: text(1).map(Into::into),
                correlation_id: text(2),
                reply_to: text(3),
                key: text(4),
                idempotency_key: text(5),
                via: text(6).map(|text| Via { topic: TopicName::foreign("t"), subject: text.into() }),
                version,
                sent_at: moments[0],
                expires_at: moments[1],
                priority,
                headers: headers.into_iter().collect(),
                body: body.into(),
                ..Envelope::default()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn whatever_is_known_is_written_on_one_line_and_read_again(
            position in any::<i64>(),
            envelope in envelope(),
            failures in any::<u32>(),
            due in option::of(moment()),
            death in option::of(death()),
        ) {
            let dead = Peeked { position, envelope: envelope.into(), failures, due, death };
            let line = dead.to_json_line();
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(Peeked::from_json_line(&line).unwrap(), dead);
        }
    }
}
