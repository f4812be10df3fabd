//! How a message becomes the bytes of a body, and back.

use crate::{BoxError, Failure, Message, dead::Reason};
use bytes::Bytes;
use std::{cell::Cell, fmt, sync::Arc};

pub use erased_serde;

/// A body format other than JSON: MessagePack, CBOR, an encrypted JSON …
///
/// Object-safe through [`erased_serde`], so that a bus can be given one at run time.
pub trait Codec: Send + Sync + 'static {
    /// The media type that travels with each message, such as `application/msgpack`.
    fn content_type(&self) -> &'static str;

    /// Writes a message.
    ///
    /// # Errors
    /// The message cannot be written in this format.
    fn encode(&self, message: &dyn erased_serde::Serialize) -> Result<Vec<u8>, BoxError>;

    /// Reads a message: hands a deserializer over `body` to `read`, once.
    ///
    /// # Errors
    /// What `read` answers, or that the body is not in this format.
    fn decode(&self, body: &[u8], read: &mut Read<'_>) -> Result<(), BoxError>;
}

/// What [`Codec::decode`] hands its deserializer to.
pub type Read<'a> =
    dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), erased_serde::Error> + 'a;

/// The codec of a bus: JSON, or one of the user's.
#[derive(Clone, Default)]
pub enum Encoding {
    /// `application/json`, straight through `serde_json`.
    #[default]
    Json,
    /// Another format.
    Other(Arc<dyn Codec>),
}

impl Encoding {
    /// The media type that travels with each message.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Other(codec) => codec.content_type(),
        }
    }

    /// The body of `message`.
    ///
    /// # Errors
    /// A permanent failure: the type cannot be written in this format.
    pub fn encode<M: Message>(&self, message: &M) -> Result<Bytes, Failure> {
        let body = match self {
            Self::Json => json(message).map_err(BoxError::from),
            Self::Other(codec) => codec.encode(message).map(Bytes::from),
        };
        body.map_err(|error| Failure::permanent(format!("failed to encode {}: {error}", M::NAME)))
    }

    /// The message in `body`.
    ///
    /// # Errors
    /// A failure for [`Reason::Undecodable`]: no retry can help.
    pub fn decode<M: Message>(&self, body: &[u8]) -> Result<M, Failure> {
        let message = match self {
            Self::Json => serde_json::from_slice(body).map_err(BoxError::from),
            Self::Other(codec) => {
                let mut message = None;
                codec
                    .decode(body, &mut |deserializer| {
                        message = Some(erased_serde::deserialize(deserializer)?);
                        Ok(())
                    })
                    .and_then(|()| message.ok_or_else(|| "the codec read nothing".into()))
            }
        };
        message.map_err(|error: BoxError| {
            let text = format!("failed to decode {}: {error}", M::NAME);
            Failure::dead_letter(Reason::Undecodable, text)
        })
    }
}

/// The body of `message`, written into a buffer that its thread keeps and copied once at its size: one
/// that grows with the body would be allocated three times, and stay half empty for as long as the
/// message waits.
fn json<M: Message>(message: &M) -> serde_json::Result<Bytes> {
    const KEPT_BYTES_MAX: usize = 64 * 1024;
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken out, so that a message that writes another one finds an empty one.
    let mut buffer = BUFFER.take();
    serde_json::to_writer(&mut buffer, message)?;
    if buffer.capacity() > KEPT_BYTES_MAX {
        return Ok(buffer.into());
    }
    let body = Bytes::copy_from_slice(&buffer);
    buffer.clear();
    BUFFER.set(buffer);
    Ok(body)
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoding({})", self.content_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ping {
        n: u32,
    }
    impl Message for Ping {
        const NAME: &'static str = "ping";
    }

    /// JSON behind a first byte, to go through the object-safe way.
    struct Marked;
    impl Codec for Marked {
        fn content_type(&self) -> &'static str {
            "application/x-marked"
        }
        fn encode(&self, message: &dyn erased_serde::Serialize) -> Result<Vec<u8>, BoxError> {
            let mut body = vec![b'!'];
            serde_json::to_writer(&mut body, message)?;
            Ok(body)
        }
        fn decode(&self, body: &[u8], read: &mut Read<'_>) -> Result<(), BoxError> {
            let json = body.strip_prefix(b"!").ok_or("no mark")?;
            let mut json = serde_json::Deserializer::from_slice(json);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))?;
            Ok(())
        }
    }

    #[test]
    fn a_message_survives_each_encoding() {
        for encoding in [Encoding::Json, Encoding::Other(Arc::new(Marked))] {
            let body = encoding.encode(&Ping { n: 7 }).unwrap();
            assert_eq!(encoding.decode::<Ping>(&body).unwrap(), Ping { n: 7 }, "{encoding:?}");
        }
    }

    #[test]
    fn an_undecodable_body_is_a_permanent_failure_that_names_the_message() {
        for encoding in [Encoding::Json, Encoding::Other(Arc::new(Marked))] {
            let failure = encoding.decode::<Ping>(b"{\"n\":\"seven\"}").unwrap_err();
            assert!(failure.is_permanent());
            assert!(failure.to_string().starts_with("failed to decode ping: "), "{failure}");
        }
    }
}
