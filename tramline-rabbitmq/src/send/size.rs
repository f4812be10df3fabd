//! How much a message takes on the wire, before anything is written.

use super::channel::Publication;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tramline_core::wire::RECORD_BYTES_MAX;
use tramline_core::{Error, ErrorKind, Result};

/// What one message may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The body, in bytes.
    pub(crate) body_bytes_max: u64,
    /// A frame, in bytes; 0: no bound. Properties and headers must fit into one.
    pub(crate) frame_bytes_max: u32,
}

impl Limits {
    /// What properties and headers of a message may take when it is sent for the first time: what the
    /// bus adds to a copy of it must fit, too. `None`: no bound.
    pub(crate) fn header_bytes_max(self) -> Option<u64> {
        /// The headers that lead a message through stages, and how many failures there were.
        const WAY_BYTES_MAX: u64 = 1024;
        self.copied_bytes_max().map(|bytes| {
            bytes.saturating_sub(RECORD_BYTES_MAX as u64).saturating_sub(WAY_BYTES_MAX)
        })
    }

    fn copied_bytes_max(self) -> Option<u64> {
        /// The frame's own head and end, and what stands before the properties.
        const FRAME_BYTES: u64 = 8 + 14;
        match u64::from(self.frame_bytes_max) {
            0 => None,
            bytes => Some(bytes.saturating_sub(FRAME_BYTES)),
        }
    }

    /// Checks what is to be published. The broker answers to a frame that is too long by closing the
    /// connection, to a body that is too long by closing the channel.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] names the limit; `doing` says what is being done.
    pub(crate) fn check(
        self,
        publication: &Publication,
        is_copy: bool,
        doing: impl FnOnce() -> String,
    ) -> Result<()> {
        let body = publication.envelope.body.len() as u64;
        if body > self.body_bytes_max {
            let limit = self.body_bytes_max;
            let why = format!("its body of {body} bytes is over the limit of {limit} (`body_max`)");
            return Err(Error::new(ErrorKind::TooLarge, doing()).because(why));
        }
        let limit = if is_copy { self.copied_bytes_max() } else { self.header_bytes_max() };
        let headers = properties_bytes(&publication.properties);
        match limit {
            Some(limit) if headers > limit => {
                let why = format!(
                    "its properties and headers of {headers} bytes are over the limit of {limit}, \
                     which the largest frame leaves them"
                );
                Err(Error::new(ErrorKind::TooLarge, doing()).because(why))
            }
            _ => Ok(()),
        }
    }
}

/// What `properties` take on the wire.
fn properties_bytes(properties: &BasicProperties) -> u64 {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts = texts.into_iter().flatten().map(short_bytes).sum::<u64>();
    let flags = [properties.delivery_mode(), properties.priority()];
    let flags = flags.into_iter().flatten().count() as u64;
    let timestamp = if properties.timestamp().is_some() { 8 } else { 0 };
    texts + flags + timestamp + properties.headers().as_ref().map_or(0, table_bytes)
}

fn short_bytes(text: &ShortString) -> u64 {
    1 + text.as_str().len() as u64
}

fn table_bytes(table: &FieldTable) -> u64 {
    4 + table.into_iter().map(|(name, value)| short_bytes(name) + value_bytes(value)).sum::<u64>()
}

fn value_bytes(value: &AMQPValue) -> u64 {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => short_bytes(text),
        AMQPValue::LongString(text) => 4 + text.len() as u64,
        AMQPValue::ByteArray(bytes) => 4 + bytes.len() as u64,
        AMQPValue::FieldArray(array) => 4 + array.as_slice().iter().map(value_bytes).sum::<u64>(),
        AMQPValue::FieldTable(table) => table_bytes(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tramline_core::envelope::Envelope;

    fn publication(properties: BasicProperties, body: usize) -> Publication {
        let (exchange, routing_key) = (ShortString::default(), "work".into());
        let envelope = Envelope { body: vec![0; body].into(), ..Envelope::default() }.into();
        Publication { exchange, routing_key, properties, envelope }
    }

    fn with_header(bytes: usize) -> BasicProperties {
        let mut table = FieldTable::default();
        table.insert("h".into(), AMQPValue::LongString("x".repeat(bytes).into()));
        BasicProperties::default().with_headers(table)
    }

    fn refusal(limits: Limits, publication: &Publication, is_copy: bool) -> Option<String> {
        let checked = limits.check(publication, is_copy, || "send".to_owned());
        let error = checked.err()?;
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        Some(error.to_string())
    }

    #[test]
    fn a_body_over_the_limit_is_refused_with_both_figures() {
        let limits = Limits { body_bytes_max: 100, frame_bytes_max: 0 };
        let at = |body| refusal(limits, &publication(BasicProperties::default(), body), false);
        assert_eq!(at(100), None);
        let why = at(101).unwrap();
        assert!(why.contains("101 bytes") && why.contains("limit of 100 (`body_max`)"), "{why}");
    }

    #[test]
    fn headers_over_a_frame_are_refused_and_a_copy_may_take_what_was_kept_free_for_it() {
        let limits = Limits { body_bytes_max: 0, frame_bytes_max: 131_072 };
        let first = limits.header_bytes_max().unwrap();
        // Length, name, kind and length of the one header.
        let of = |bytes: u64| publication(with_header(usize::try_from(bytes).unwrap() - 11), 0);
        assert_eq!(refusal(limits, &of(first), false), None);
        let why = refusal(limits, &of(first + 1), false).unwrap();
        assert!(why.contains(&format!("limit of {first}")), "{why}");
        assert_eq!(refusal(limits, &of(131_050), true), None);
        assert!(refusal(limits, &of(131_051), true).is_some());
        let unbounded = Limits { frame_bytes_max: 0, ..limits };
        assert_eq!(refusal(unbounded, &of(1_000_000), false), None);
    }
}
