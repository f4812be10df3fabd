//! An order as JSON.
//!
//! Fields that this version does not know are ignored, so that clients may be ahead of it; one that
//! it knows and that stands twice is refused. The total is a text or a number, and taken to the
//! letter: it never passes through a binary fraction.

use super::problem::Problem;
use crate::order::{Order, Token, Written};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

/// The fields, whatever they hold.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    date: Option<&'a RawValue>,
    #[serde(borrow)]
    units: Option<&'a RawValue>,
    #[serde(borrow)]
    total: Option<&'a RawValue>,
}

/// The order in `body`, or what is wrong with it: 400 for what is no JSON, 422 for JSON that is no
/// order.
pub(super) fn read(body: &[u8]) -> Result<Order, Problem> {
    let text = str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to());
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let fields = fields(text)?;
    let written = Written {
        order_id: token(fields.order_id)?,
        user_id: token(fields.user_id)?,
        date: token(fields.date)?,
        units: token(fields.units)?,
        total: token(fields.total)?,
    };
    Order::read(&written).map_err(Problem::faulty)
}

fn fields(text: &str) -> Result<Fields<'_>, Problem> {
    // Serde would take a list for the fields in their order.
    let is_object = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
    let fields = match serde_json::from_str(text) {
        Ok(fields) if is_object => return Ok(fields),
        Ok(_) => "the body must be a JSON object".to_owned(),
        Err(error) => match error.classify() {
            Category::Data if is_object => format!("the body is no order: {error}"),
            Category::Data => "the body must be a JSON object".to_owned(),
            Category::Syntax | Category::Eof | Category::Io => {
                let detail = format!("the body is not JSON: {error}");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
        },
    };
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, fields))
}

fn token(value: Option<&RawValue>) -> Result<Token<'_>, Problem> {
    let Some(value) = value.map(RawValue::get) else { return Ok(Token::Missing) };
    match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str(value).map(Token::Text).map_err(|error| {
            let detail = format!("the body is not JSON: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }),
        Some(b'-' | b'0'..=b'9') => Ok(Token::Number(value)),
        _ => Ok(Token::Other(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: &str, value: &str) -> String {
        let fields = [
            ("order_id", "1"),
            ("user_id", "2"),
            ("date", "\"1997-01-31\""),
            ("units", "3"),
            ("total", "\"11.77\""),
        ];
        let fields = fields.map(|(name, sound)| {
            format!("\"{name}\": {}", if name == field { value } else { sound })
        });
        format!("{{{}}}", fields.join(", "))
    }

    fn refused(body: impl AsRef<[u8]>) -> (u16, String) {
        let problem = read(body.as_ref()).unwrap_err();
        (problem.status.as_u16(), problem.detail)
    }

    #[test]
    fn a_total_is_a_text_or_a_number_to_the_cent() {
        for total in ["\"11.77\"", "11.77", "\"\\u0031\\u0031.77\""] {
            assert_eq!(read(with("total", total).as_bytes()).unwrap().total.cents, 1177);
        }
        assert_eq!(read(with("total", "1.1").as_bytes()).unwrap().total.cents, 110);
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let body = with("", "").replace('}', ", \"gift\": {\"wrapped\": [true]}}");
        assert_eq!(read(body.as_bytes()).unwrap().order_id, 1);
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for body in ["", "{", "{]", "nonsense", "{\"order_id\": 01}", "{\"x\": \"\u{1}\"}"] {
            let (status, detail) = refused(body);
            assert!(
                status == 400 && detail.starts_with("the body is not JSON"),
                "{body}: {detail}"
            );
        }
        assert_eq!(refused(with("", "") + "x").0, 400);
        assert_eq!(refused(with("date", r#""\ud800""#)).0, 400);
        assert_eq!(refused("[".repeat(10_000)).0, 400);
        assert_eq!(refused(b"{\"order_id\": \"\xff\"}").0, 400);
        assert!(refused(b"{\"order_id\": \"\xff\"}").1.contains("not UTF-8: byte 14"));
    }

    #[test]
    fn json_that_is_no_order_is_unprocessable_and_names_the_field() {
        for (field, value) in [
            ("order_id", "\"1\""),
            ("order_id", "1.5"),
            ("order_id", "0"),
            ("order_id", "9223372036854775808"),
            ("user_id", "null"),
            ("date", "\"1997-02-30\""),
            ("date", "19970131"),
            ("units", "-1"),
            ("units", "true"),
            ("total", "\"1.005\""),
            ("total", "11.770"),
            ("total", "1e3"),
            ("total", "[1]"),
        ] {
            let (status, detail) = refused(with(field, value));
            assert!(status == 422 && detail.starts_with(&format!("`{field}`")), "{detail}");
        }
    }

    #[test]
    fn an_object_and_no_field_twice_is_asked_for() {
        for body in ["[]", "7", "null", "\"order\"", "[1, 2, \"1997-01-31\", 3, \"11.77\"]"] {
            assert_eq!(refused(body), (422, "the body must be a JSON object".to_owned()), "{body}");
        }
        let twice = with("", "").replace('}', ", \"units\": 4}");
        assert!(refused(&twice).0 == 422 && refused(&twice).1.contains("duplicate field `units`"));
        let nothing = refused("{}").1;
        assert!(["order_id", "total"].iter().all(|field| nothing.contains(field)), "{nothing}");
    }
}
