//! What a broker carries by itself.

use crate::clock::Timestamp;
use crate::name::TopicName;

/// Metadata of one message in the broker's own properties.
///
/// A driver fills it from the envelope when it writes and from the broker when it reads. What is
/// `None` when writing goes into a header, so a driver leaves out, message by message, what its
/// broker would not give back as it was: a text that is too long for its property, or a time where
/// the broker's is of whole seconds or its own.
///
/// ```
/// use tramline_core::envelope::Envelope;
/// use tramline_core::wire::{self, Native, Record};
///
/// let key = Some("customer-7".to_owned());
/// let envelope = Envelope { key: key.clone(), priority: Some(3), ..Envelope::default() };
/// let headers = wire::write(&envelope, &Record::default(), &Native { key, ..Native::default() });
/// assert_eq!(headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["tramline_priority"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// The message's id. As the broker has it: [`read`](super::read) checks it.
    pub id: Option<String>,
    /// The message's name.
    pub name: Option<String>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// When the sender made the message.
    pub sent_at: Option<Timestamp>,
    /// The business operation.
    pub correlation_id: Option<String>,
    /// Where an answer goes.
    pub reply_to: Option<String>,
    /// What the message stays in order with.
    pub key: Option<String>,
    /// When the message loses its meaning.
    pub expires_at: Option<Timestamp>,
    /// Larger is sooner.
    pub priority: Option<u8>,
    /// The topic that the message goes through; `None` for direct sends, copies and redrives.
    pub topic: Option<TopicName>,
    /// What subject filters look at.
    pub subject: Option<String>,
}
