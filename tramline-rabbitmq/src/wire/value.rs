//! Values of AMQP tables become values of headers.

use bytes::Bytes;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, Timestamp as Seconds};
use serde_json::{Map, Value as Json};
use tramline_core::clock::Timestamp;
use tramline_core::headers::HeaderValue;

/// How deep a table may hold tables: more is an attempt to overflow a stack.
const DEPTH_MAX: u32 = 16;

/// What a header says; `None` if it says nothing.
///
/// Every whole number is an integer, a time its milliseconds since 1970 as in
/// [all headers](tramline_core::wire), a decimal its exact text. Text that is no UTF-8 is bytes.
/// Arrays and tables, for which headers have no type, become JSON text, so that they are not lost.
///
/// # Errors
/// Why the value cannot be shown.
pub(super) fn header_value(value: &AMQPValue) -> Result<Option<HeaderValue>, String> {
    Ok(Some(match value {
        AMQPValue::Void => return Ok(None),
        AMQPValue::Boolean(bool) => HeaderValue::Bool(*bool),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => text.into(),
            Err(_) => HeaderValue::Bytes(Bytes::copy_from_slice(text.as_bytes())),
        },
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(Bytes::copy_from_slice(bytes.as_slice())),
        AMQPValue::Float(float) => f64::from(*float).into(),
        AMQPValue::Double(float) => (*float).into(),
        AMQPValue::DecimalValue(decimal) => decimal_text(*decimal).into(),
        AMQPValue::Timestamp(seconds) => moment(*seconds)?.as_millis().into(),
        AMQPValue::FieldArray(array) => json_array(array, DEPTH_MAX)?.to_string().into(),
        AMQPValue::FieldTable(table) => json_table(table, DEPTH_MAX)?.to_string().into(),
        other => int(other).ok_or("it is of an unknown type")?.into(),
    }))
}

/// A moment in AMQP's whole seconds.
///
/// # Errors
/// It is beyond the year 9999: whoever wrote it did not count seconds.
pub(super) fn moment(seconds: Seconds) -> Result<Timestamp, String> {
    const LAST: Seconds = 253_402_300_799;
    match i64::try_from(seconds) {
        Ok(in_range) if seconds <= LAST => Ok(Timestamp::from_millis(in_range * 1000)),
        _ => Err(format!("{seconds} seconds are beyond the year 9999")),
    }
}

/// A whole number of whatever width.
pub(super) fn int(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(int) => Some((*int).into()),
        AMQPValue::ShortShortUInt(int) => Some((*int).into()),
        AMQPValue::ShortInt(int) => Some((*int).into()),
        AMQPValue::ShortUInt(int) => Some((*int).into()),
        AMQPValue::LongInt(int) => Some((*int).into()),
        AMQPValue::LongUInt(int) => Some((*int).into()),
        AMQPValue::LongLongInt(int) => Some(*int),
        _ => None,
    }
}

/// Text of whichever kind.
pub(super) fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::ShortString(text) => Some(text.as_str()),
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    }
}

fn decimal_text(DecimalValue { scale, value }: DecimalValue) -> String {
    let digits = format!("{value:0width$}", width = usize::from(scale) + 1);
    match digits.split_at(digits.len() - usize::from(scale)) {
        (whole, "") => whole.to_owned(),
        (whole, fraction) => format!("{whole}.{fraction}"),
    }
}

fn json(value: &AMQPValue, depth: u32) -> Result<Json, String> {
    match value {
        AMQPValue::FieldArray(array) => json_array(array, depth),
        AMQPValue::FieldTable(table) => json_table(table, depth),
        other => Ok(match header_value(other)? {
            None => Json::Null,
            Some(HeaderValue::Text(text)) => text.into(),
            Some(HeaderValue::Int(int)) => int.into(),
            Some(HeaderValue::Float(float)) => float.into(),
            Some(HeaderValue::Bool(bool)) => bool.into(),
            Some(HeaderValue::Bytes(_)) => return Err("it holds bytes in a table".to_owned()),
        }),
    }
}

fn json_array(array: &FieldArray, depth: u32) -> Result<Json, String> {
    let depth = deeper(depth)?;
    array.as_slice().iter().map(|value| json(value, depth)).collect()
}

fn json_table(table: &FieldTable, depth: u32) -> Result<Json, String> {
    let depth = deeper(depth)?;
    let pairs = table.inner().iter();
    let pairs = pairs.map(|(name, value)| Ok((name.as_str().to_owned(), json(value, depth)?)));
    pairs.collect::<Result<Map<_, _>, String>>().map(Json::Object)
}

fn deeper(depth: u32) -> Result<u32, String> {
    depth.checked_sub(1).ok_or_else(|| format!("it is nested more than {DEPTH_MAX} deep"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_written_exactly() {
        let text = |scale, value| decimal_text(DecimalValue { scale, value });
        assert_eq!(text(0, 42), "42");
        assert_eq!(text(2, 1990), "19.90");
        assert_eq!(text(3, 5), "0.005");
        assert_eq!(text(1, 0), "0.0");
        assert_eq!(text(255, u32::MAX).len(), 257);
    }

    #[test]
    fn a_time_is_its_milliseconds_unless_somebody_wrote_milliseconds_for_seconds() {
        assert_eq!(moment(1_700_000_000).unwrap().as_millis(), 1_700_000_000_000);
        assert!(moment(1_700_000_000_000).is_err());
        assert!(moment(u64::MAX).is_err());
    }

    #[test]
    fn tables_and_arrays_become_json_text() {
        let mut table = FieldTable::default();
        table.insert("when".into(), AMQPValue::Timestamp(1));
        let list = vec![AMQPValue::LongLongInt(-1), AMQPValue::Void, AMQPValue::FieldTable(table)];
        let read = header_value(&AMQPValue::FieldArray(list.into())).unwrap();
        assert_eq!(read, Some(r#"[-1,null,{"when":1000}]"#.into()));
    }

    #[test]
    fn a_table_is_read_up_to_a_depth() {
        let nested = |depth| {
            (0..depth).fold(AMQPValue::Void, |inner, _| AMQPValue::FieldArray(vec![inner].into()))
        };
        assert!(header_value(&nested(16)).is_ok());
        assert!(header_value(&nested(17)).unwrap_err().contains("16"));
    }
}
