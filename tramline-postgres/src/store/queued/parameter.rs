//! A value for a statement, already encoded: it can be sent again, by either client.

use bytes::{BufMut, Bytes, BytesMut};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, Postgres};
use sqlx::{Type, TypeInfo};
use tokio_postgres::types::{Format, ToSql, Type as ServerType, to_sql_checked};
use tramline_core::Failure;

/// A value for a queued statement. Values of `sqlx` become one by [`Parameter::new`]; a `Vec` of them is
/// for statements whose number of parameters is only known at run time.
#[derive(Clone, Debug)]
pub struct Parameter {
    kind: PgTypeInfo,
    /// In the binary format; nothing for NULL.
    bytes: Option<Bytes>,
}

/// What the server calls a parameter whose type it is to infer.
pub(super) const INFERRED: u32 = 705;

impl Parameter {
    /// Encodes a value as `sqlx` would.
    ///
    /// # Errors
    /// A permanent failure: it cannot be encoded, or is an array of a type that `sqlx` knows by its name
    /// only, such as an enum: to send one, the server has to be asked first.
    pub fn new<T>(value: T) -> Result<Self, Failure>
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        let kind = value.produces().unwrap_or_else(T::type_info);
        let mut buffer = PgArgumentBuffer::default();
        let bytes = match value.encode(&mut buffer) {
            Ok(IsNull::Yes) => None,
            Ok(IsNull::No) => Some(std::mem::take(&mut *buffer)),
            Err(error) => return Err(Failure::permanent(error)),
        };
        let is_array = kind.name().starts_with('_') || kind.name().ends_with("[]");
        if bytes.is_some() && kind.oid().is_none() && is_array {
            return Err(Failure::permanent(format!(
                "failed to queue a value of type {}: an array of a type that is known by its name only \
                 needs `tx.connection()`, or text[] with a cast in the statement",
                kind.name()
            )));
        }
        Ok(Self { bytes: bytes.map(|bytes| as_its_type(&kind, bytes).into()), kind })
    }

    /// The type as the statement is to be prepared with.
    pub(super) fn oid(&self) -> u32 {
        self.kind.oid().map_or(INFERRED, |oid| oid.0)
    }

    /// Nothing for NULL.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Bytes::len)
    }
}

/// `sqlx` writes JSON as JSONB, and mends the first byte once the server has said which it is.
fn as_its_type(kind: &PgTypeInfo, mut bytes: Vec<u8>) -> Vec<u8> {
    const JSON: u32 = 114;
    if let (Some(JSON), Some(first @ 1)) = (kind.oid().map(|oid| oid.0), bytes.first_mut()) {
        *first = b' ';
    }
    bytes
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &ServerType, out: &mut BytesMut) -> Result<ToSqlNull, BoxDynError> {
        Ok(match &self.bytes {
            Some(bytes) => {
                out.put_slice(bytes);
                ToSqlNull::No
            }
            None => ToSqlNull::Yes,
        })
    }

    /// The server judges.
    fn accepts(_: &ServerType) -> bool {
        true
    }

    fn encode_format(&self, _: &ServerType) -> Format {
        Format::Binary
    }

    to_sql_checked!();
}

use tokio_postgres::types::IsNull as ToSqlNull;

impl Type<Postgres> for Parameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("unknown")
    }
}

impl Encode<'_, Postgres> for Parameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Mood;

    impl Type<Postgres> for Mood {
        fn type_info() -> PgTypeInfo {
            PgTypeInfo::with_name("mood")
        }
    }

    impl sqlx::postgres::PgHasArrayType for Mood {
        fn array_type_info() -> PgTypeInfo {
            PgTypeInfo::array_of("mood")
        }
    }

    impl Encode<'_, Postgres> for Mood {
        fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
            <&str as Encode<'_, Postgres>>::encode("glad", buffer)
        }
    }

    #[test]
    fn a_value_is_kept_as_its_type_and_bytes() {
        let number = Parameter::new(7_i32).unwrap();
        assert_eq!((number.oid(), number.bytes.as_deref()), (23, Some(&[0, 0, 0, 7][..])));
        let nothing = Parameter::new(None::<i64>).unwrap();
        assert_eq!((nothing.oid(), nothing.bytes), (20, None));
        let mood = Parameter::new(Mood).unwrap();
        assert_eq!((mood.oid(), mood.bytes.as_deref()), (INFERRED, Some(&b"glad"[..])));
    }

    /// The server would have to say what an element is, and nobody asks it here.
    #[test]
    fn an_array_of_a_type_known_by_name_is_refused_for_good() {
        let refused = Parameter::new(vec![Mood]).unwrap_err();
        assert!(refused.is_permanent());
        assert!(refused.to_string().contains("mood[]"), "{refused}");
        assert!(Parameter::new(None::<Vec<Mood>>).is_ok());
        assert!(Parameter::new(vec![7_i32]).is_ok());
    }
}
