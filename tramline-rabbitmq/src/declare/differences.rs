//! Why the broker refused a declaration, in words. Pure.

use tramline_core::topology::QueueSpec;

/// What an existing queue or exchange differs in, out of what the broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    argument: String,
    is: String,
    asked: String,
}

impl Difference {
    /// Reads `… inequivalent arg 'x-max-priority' for queue 'work' in vhost '/': received the value
    /// '9' of type 'long' but current is none`; `None` if the text is another.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once(": received ")?;
        let (asked, is) = rest.split_once(" but current is ")?;
        Some(Self { argument: argument.to_owned(), is: plain(is), asked: plain(asked) })
    }

    /// As a sentence, with the field that the argument comes from.
    pub(super) fn in_words(&self) -> String {
        let Self { argument, is, asked } = self;
        let field = FIELDS.iter().find(|(known, _)| known == argument);
        let field = field.map(|(_, field)| format!(" ({field})")).unwrap_or_default();
        format!("{argument}{field} is {is}, asked for {asked}")
    }
}

/// Which field of a queue's specification an argument comes from.
const FIELDS: [(&str, &str); 8] = [
    ("x-queue-type", "queue-type"),
    ("x-max-priority", "priority_max"),
    ("x-max-length", "length_max"),
    ("x-overflow", "length_max"),
    ("x-delivery-limit", "delivery_limit"),
    ("x-single-active-consumer", "ordering"),
    ("x-message-ttl", "keep_dead"),
    ("x-dead-letter-routing-key", "dead-letter-queue"),
];

/// Without the broker's names for types: `the value '9' of type 'long'` is `'9'`.
fn plain(value: &str) -> String {
    let value = value.trim_start_matches("the value ");
    value.split(" of type ").next().unwrap_or(value).to_owned()
}

/// What `asked` differs in from what was asked of the queue before; empty if that is not known.
pub(super) fn since_declared(before: Option<&QueueSpec>, asked: &QueueSpec) -> Option<String> {
    let differences = before?.differences(asked);
    (!differences.is_empty()).then(|| differences.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<String> {
        Difference::read(text).map(|difference| difference.in_words())
    }

    #[test]
    fn the_brokers_words_become_ours() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'work' in \
                    vhost 'v': received the value '9' of type 'long' but current is the value '5' of \
                    type 'long'";
        let expected = "x-max-priority (priority_max) is '5', asked for '9'";
        assert_eq!(words(text).unwrap(), expected);
        let text = "inequivalent arg 'x-message-ttl' for queue 'work-dlq' in vhost 'v': received \
                    none but current is the value '1000' of type 'signedint'";
        assert_eq!(words(text).unwrap(), "x-message-ttl (keep_dead) is '1000', asked for none");
        let text = "inequivalent arg 'durable' for queue 'it' in vhost '/': received 'true' but \
                    current is 'false'";
        assert_eq!(words(text).unwrap(), "durable is 'false', asked for 'true'");
        let text = "inequivalent arg 'type' for exchange 'e' in vhost '/': received 'topic' but \
                    current is 'fanout'";
        assert_eq!(words(text).unwrap(), "type is 'fanout', asked for 'topic'");
    }

    #[test]
    fn other_words_are_left_alone() {
        for text in
            ["", "NOT_FOUND - no queue 'work'", "inequivalent arg 'x", "inequivalent arg ''"]
        {
            assert_eq!(words(text), None, "{text}");
        }
    }
}
