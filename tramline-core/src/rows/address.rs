//! How a destination is written down.

use crate::envelope::Text;
use crate::name::{QueueRef, TopicName};
use crate::transport::Destination;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Address {
    Queue(QueueRef),
    Topic { name: TopicName, subject: Text },
    Foreign { exchange: String, routing_key: String },
    Reply(String),
}

/// A destination as JSON.
///
/// # Errors
/// [`ErrorKind::Refused`]: it cannot be written as JSON.
pub fn write_destination(to: &Destination) -> Result<String> {
    let address = match to.clone() {
        Destination::Queue(queue) => Address::Queue(queue),
        Destination::Topic { name, subject } => Address::Topic { name, subject },
        Destination::Foreign { exchange, routing_key } => {
            Address::Foreign { exchange, routing_key }
        }
        Destination::Address(address) => Address::Reply(address),
    };
    serde_json::to_string(&address).map_err(|error| {
        Error::new(ErrorKind::Refused, "write a destination as JSON").because(error)
    })
}

/// What [`write_destination`] has written.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: it is something else.
pub fn read_destination(text: &str) -> Result<Destination> {
    let address = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "read a destination").because(error))?;
    Ok(match address {
        Address::Queue(queue) => Destination::Queue(queue),
        Address::Topic { name, subject } => Destination::Topic { name, subject },
        Address::Foreign { exchange, routing_key } => {
            Destination::Foreign { exchange, routing_key }
        }
        Address::Reply(address) => Destination::Address(address),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::QueueName;

    /// Rows of released versions are read for ever, and other programs write them, too.
    #[test]
    fn destinations_are_read_as_they_were_written() {
        let queue = |name: &str| QueueName::new(name).unwrap();
        let topic = TopicName::new("orders").unwrap();
        let foreign = || ("e".to_owned(), "k".to_owned());
        for (to, written) in [
            (Destination::Queue(QueueRef::Main(queue("q"))), r#"{"queue":{"Main":"q"}}"#),
            (Destination::Queue(QueueRef::Dead(queue("q"))), r#"{"queue":{"Dead":"q"}}"#),
            (
                Destination::Topic { name: topic, subject: "orders.placed".into() },
                r#"{"topic":{"name":"orders","subject":"orders.placed"}}"#,
            ),
            (
                Destination::Foreign { exchange: foreign().0, routing_key: foreign().1 },
                r#"{"foreign":{"exchange":"e","routing_key":"k"}}"#,
            ),
            (Destination::Address("a".to_owned()), r#"{"reply":"a"}"#),
        ] {
            assert_eq!(write_destination(&to).unwrap(), written);
            assert_eq!(read_destination(written).unwrap(), to);
        }
        assert_eq!(read_destination("{}").unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
