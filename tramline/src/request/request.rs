//! A message that is answered.

use crate::Message;

/// A message that is answered.
pub trait Request: Message {
    /// What it is answered with.
    type Reply: Message;
}
