//! Names of queues and topics: ours follow one grammar that every broker accepts.

use crate::envelope::Text;
use crate::message::Message;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// The most characters that a name of ours may have.
pub const NAME_CHARS_MAX: usize = 120;

/// What a dead-letter queue's name ends with on brokers where it is a queue of its own.
pub const DEAD_SUFFIX: &str = "-dlq";

/// A name that does not follow the grammar `[a-z0-9][a-z0-9.-]{0,119}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad {what} name {name:?}: {why}")]
pub struct BadName {
    what: &'static str,
    name: String,
    why: String,
}

/// Checks `name` against the grammar of our own names.
///
/// # Errors
/// Says which character is wrong, or that the name is empty, too long or reserved.
pub fn check(what: &'static str, name: &str) -> Result<(), BadName> {
    let bad = |why: String| Err(BadName { what, name: name.to_owned(), why });
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match name.chars().next() {
        None => return bad("it is empty".to_owned()),
        Some(first) if !allowed(first) => {
            return bad(format!("it must begin with a-z or 0-9, not {first:?}"));
        }
        Some(_) => {}
    }
    if let Some(wrong) = name.chars().find(|&c| !allowed(c) && c != '.' && c != '-') {
        return bad(format!("{wrong:?} is none of a-z 0-9 . -"));
    }
    if name.len() > NAME_CHARS_MAX {
        return bad(format!("{} characters are more than {NAME_CHARS_MAX}", name.len()));
    }
    if name.ends_with(DEAD_SUFFIX) {
        return bad(format!("names that end in {DEAD_SUFFIX} are reserved for dead letters"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $Name:ident($Held:ty), $hold:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $Name($Held);

        impl $Name {
            #[doc = concat!("A ", $what, " of ours.")]
            ///
            /// # Errors
            /// The name must match `[a-z0-9][a-z0-9.-]{0,119}` and not end in `-dlq`.
            pub fn new(name: impl AsRef<str>) -> Result<Self, BadName> {
                check($what, name.as_ref())?;
                Ok(Self::foreign(name))
            }

            #[doc = concat!("A ", $what, " that exists elsewhere: its name is taken as it is.")]
            pub fn foreign(name: impl AsRef<str>) -> Self {
                Self($hold(name.as_ref()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The name of a queue: work for one logical consumer.
    QueueName(Arc<str>), Arc::from, "queue"
}
name! {
    /// The name of a topic: every subscribed queue gets a copy.
    TopicName(Text), |name: &str| Text::Owned(name.to_owned()), "topic"
}

impl TopicName {
    /// The topic that events of type `M` are published to.
    ///
    /// # Errors
    /// The name must match `[a-z0-9][a-z0-9.-]{0,119}` and not end in `-dlq`.
    pub fn of<M: Message>() -> Result<Self, BadName> {
        check("topic", M::topic())?;
        Ok(Self(Text::Borrowed(M::topic())))
    }
}

/// A queue, or the dead letters of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum QueueRef {
    /// The queue itself.
    Main(QueueName),
    /// Its dead-letter queue.
    Dead(QueueName),
}

impl QueueRef {
    /// The queue, or the one whose dead letters these are.
    pub fn name(&self) -> &QueueName {
        match self {
            Self::Main(name) | Self::Dead(name) => name,
        }
    }
}

impl fmt::Display for QueueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main(name) => write!(f, "{name}"),
            Self::Dead(name) => write!(f, "{name}{DEAD_SUFFIX}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "0", "orders", "orders.placed", "a-b.c-9", &"x".repeat(120)] {
            assert!(QueueName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "A", "a_b", "a b", "ü", "a/b", "a-dlq", &"x".repeat(121)] {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_is_refused_with_the_name_and_the_reason() {
        assert_eq!(
            QueueName::new("Pay").unwrap_err().to_string(),
            "bad queue name \"Pay\": it must begin with a-z or 0-9, not 'P'"
        );
    }

    #[test]
    fn foreign_names_are_taken_as_they_are() {
        assert_eq!(TopicName::foreign("amq.Topic").as_str(), "amq.Topic");
    }
}
