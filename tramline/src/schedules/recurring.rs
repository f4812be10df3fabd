//! What is sent again and again.

use super::planning::check_name;
#[cfg(feature = "cron")]
use crate::cron::Cron;
use crate::{Failure, Message};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::Draft;
use tramline_core::name::QueueName;
use tramline_core::transport::Outgoing;

/// The header in which a message that recurs says for which moment it is: milliseconds since 1970-01-01 UTC.
pub const SCHEDULED_FOR: &str = "scheduled_for";

/// What becomes of the moments that passed while no instance ran. What is late by no more than a minute is in time:
/// each such moment has its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// One message for all of them together, for the last.
    #[default]
    Once,
    /// One message for each.
    All,
    /// None: what is more than a minute late is left out.
    None,
}

/// When something recurs, and where its message goes: to subscribers, or [to a queue](Self::to_queue).
#[derive(Clone, Debug)]
#[must_use = "a bus has what recurs by `.recurring(…)`"]
pub struct Recurring {
    pub(super) rhythm: Rhythm,
    pub(super) catch_up: CatchUp,
    queue: Option<String>,
}

/// When.
#[derive(Clone, Debug)]
pub(super) enum Rhythm {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron {
        text: String,
        cron: Cron,
    },
}

impl Recurring {
    /// Recurs each `interval`, counted from the moment at which an instance first declared it; restarts do not
    /// change that. An interval below a millisecond is refused at `start()`.
    pub fn every(interval: Duration) -> Self {
        Self::of(Rhythm::Every(interval))
    }

    /// Recurs at the moments of a cron expression by the clocks of a time zone, as
    /// [`Worker::cron`](crate::host::Worker::cron) reads it. Feature `cron`.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured): the expression or the zone is wrong, or no such
    /// moment ever comes.
    #[cfg(feature = "cron")]
    pub fn cron(expression: &str, zone: &str) -> tramline_core::Result<Self> {
        use tramline_core::clock::Clock;
        let now = tramline_core::clock::SystemClock.now();
        let cron = Cron::parse(expression, zone, now)?;
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let text = format!("cron {} in {zone}", fields.join(" "));
        Ok(Self::of(Rhythm::Cron { text, cron }))
    }

    fn of(rhythm: Rhythm) -> Self {
        Self { rhythm, catch_up: CatchUp::default(), queue: None }
    }

    /// What becomes of the moments that passed while no instance ran; one message for all if not said.
    pub fn after_downtime(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// The message is a command to this queue, and not an event.
    pub fn to_queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    fn target(&self) -> Result<Target, Failure> {
        match &self.queue {
            Some(queue) => Ok(Target::Queue(QueueName::new(queue).map_err(Failure::permanent)?)),
            None => Ok(Target::Subscribers),
        }
    }
}

impl Rhythm {
    /// The first moment behind `moment`, which was one too.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => Some(moment.after(*interval)),
            #[cfg(feature = "cron")]
            Self::Cron { cron, .. } => cron.after(moment),
        }
    }
}

/// As the store keeps it, to see whether it has changed.
impl fmt::Display for Rhythm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => write!(f, "every {interval:?}"),
            #[cfg(feature = "cron")]
            Self::Cron { text, .. } => f.write_str(text),
        }
    }
}

/// What recurs on a bus.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(super) recurring: Recurring,
    /// How the store keeps the rhythm.
    pub(super) text: Arc<str>,
    compose: Compose,
}

type Compose = Box<dyn Fn(&Scope, Target) -> Result<Outgoing, Failure> + Send + Sync>;

impl Declared {
    pub(crate) fn of<M: Message>(name: String, recurring: Recurring, message: M) -> Self {
        let compose = move |scope: &Scope, target| scope.compose(Draft::of(&message), target);
        let text = recurring.rhythm.to_string().into();
        Self { name, recurring, text, compose: Box::new(compose) }
    }

    /// A message of it as it is now.
    pub(super) fn message(&self, scope: &Scope) -> Result<Outgoing, Failure> {
        (self.compose)(scope, self.recurring.target()?)
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self, scope: &Scope) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(check_name(&self.name).err().map(|failure| failure.to_string()));
        problems.extend(self.message(scope).err().map(|failure| failure.to_string()));
        if let Rhythm::Every(interval) = self.recurring.rhythm
            && interval < Duration::from_millis(1)
        {
            problems.push(format!("an interval of {interval:?} is too short to recur"));
        }
        problems
    }
}
