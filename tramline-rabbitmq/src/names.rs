//! What queues are called on the broker.

use lapin::types::ShortString;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use tramline_core::name::{DEAD_SUFFIX, QueueName, QueueRef};
use tramline_core::{Error, ErrorKind, Result};

/// What the names begin with of what is the driver's own.
pub(crate) const OWN_PREFIX: &str = "tramline.";
/// Where a message goes when its delay is over: a direct exchange to which every queue is bound by
/// its own name.
pub(crate) const DUE: &str = "tramline.due";
/// Where a delayed message goes whose queue is gone: an exchange and a queue.
pub(crate) const UNDELIVERABLE: &str = "tramline.undeliverable";
/// Where every delayed event goes beside its topic, because it may have no subscriber any more: a queue
/// that keeps nothing.
pub(crate) const VOID: &str = "tramline.void";
/// Where delayed messages are sent to.
pub(crate) const DELAY: &str = "tramline.delay";
/// The queue that remembers what was declared.
pub(crate) const REGISTRY: &str = "tramline.registry";
/// Whose bindings say which messages were handled alone: an exchange, and before a dot and its number
/// the queue of each week.
pub(crate) const TRIALS: &str = "tramline.trials";

/// The names that are not the queue's own: those that the broker gives to temporary queues, and
/// dead-letter queues with a name by choice.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Whether there are any: looked at for each message.
    has_some: AtomicBool,
    particular: RwLock<HashMap<QueueName, Particular>>,
}

#[derive(Clone, Debug, Default)]
struct Particular {
    queue: Option<ShortString>,
    dead: Option<ShortString>,
}

impl Names {
    /// What the broker calls `queue`.
    ///
    /// # Errors
    /// The name is longer than the protocol can say.
    pub(crate) fn of(&self, queue: &QueueRef) -> Result<ShortString> {
        match queue {
            QueueRef::Main(name) => self.queue(name),
            QueueRef::Dead(name) => self.dead(name),
        }
    }

    /// What the broker calls the queue `name`.
    ///
    /// # Errors
    /// The name is longer than the protocol can say.
    pub(crate) fn queue(&self, name: &QueueName) -> Result<ShortString> {
        self.given(name).map_or_else(|| short("queue", name.as_str()), Ok)
    }

    /// What the broker calls the dead-letter queue of `name`.
    ///
    /// # Errors
    /// The name is longer than the protocol can say.
    pub(crate) fn dead(&self, name: &QueueName) -> Result<ShortString> {
        self.of_particular(name, |particular| particular.dead.clone())
            .map_or_else(|| short("queue", &format!("{name}{DEAD_SUFFIX}")), Ok)
    }

    /// What the broker called the temporary queue `name` last.
    pub(crate) fn given(&self, name: &QueueName) -> Option<ShortString> {
        self.of_particular(name, |particular| particular.queue.clone())
    }

    /// The broker calls the temporary queue `name` so from now on.
    pub(crate) fn give(&self, name: &QueueName, given: ShortString) {
        self.change(name, |particular| particular.queue = Some(given));
    }

    /// The dead letters of `name` are in `dead`.
    pub(crate) fn choose_dead(&self, name: &QueueName, dead: ShortString) {
        self.change(name, |particular| particular.dead = Some(dead));
    }

    fn change(&self, name: &QueueName, change: impl FnOnce(&mut Particular)) {
        change(self.particular.write().entry(name.clone()).or_default());
        self.has_some.store(true, Ordering::Release);
    }

    fn of_particular(
        &self,
        name: &QueueName,
        look: impl FnOnce(&Particular) -> Option<ShortString>,
    ) -> Option<ShortString> {
        if !self.has_some.load(Ordering::Acquire) {
            return None;
        }
        look(self.particular.read().get(name)?)
    }
}

/// `text` as the protocol carries names: up to 255 bytes.
///
/// # Errors
/// Shows the name, and says what it is a name of.
pub(crate) fn short(what: &str, text: &str) -> Result<ShortString> {
    ShortString::try_new(text).map_err(|_| {
        let doing = format!("use the {what} name {text:?}: AMQP names have up to 255 bytes");
        Error::new(ErrorKind::Misconfigured, doing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> QueueName {
        QueueName::foreign(name)
    }

    #[test]
    fn a_queue_is_called_as_it_is_unless_the_broker_or_somebody_chose_another_name() {
        let names = Names::default();
        let (main, dead) = (QueueRef::Main(name("work")), QueueRef::Dead(name("work")));
        let called = |queue| names.of(queue).unwrap().to_string();
        assert_eq!((called(&main), called(&dead)), ("work".into(), "work-dlq".into()));
        names.give(&name("work"), "amq.gen-1".into());
        assert_eq!((called(&main), called(&dead)), ("amq.gen-1".into(), "work-dlq".into()));
        names.give(&name("work"), "amq.gen-2".into());
        names.choose_dead(&name("work"), "Morgue".into());
        assert_eq!((called(&main), called(&dead)), ("amq.gen-2".into(), "Morgue".into()));
        assert_eq!(names.queue(&name("other")).unwrap().as_str(), "other");
    }

    #[test]
    fn a_name_that_the_protocol_cannot_say_is_refused() {
        let (fits, long) = ("x".repeat(255), "x".repeat(256));
        assert!(Names::default().queue(&name(&fits)).is_ok());
        let error = Names::default().queue(&name(&long)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains("up to 255 bytes"), "{error}");
        // With its suffix, the name of its dead letters is too long.
        assert!(Names::default().dead(&name(&fits)).is_err());
    }
}
