//! A message that was taken.

use super::lease::{Lease, Origin};
use super::trials::{Key, acquit, forget};
use crate::wire::Incoming;
use std::ops::Range;
use std::sync::Arc;
use tramline_core::dead::{FailureNote, History};
use tramline_core::envelope::Envelope;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Ticket};
use tramline_core::{Error, ErrorKind, Result};

/// Of a message in a queue that does not count deliveries, so many trials are asked for.
const UNCOUNTED_MAX: u32 = 8;

/// A message from a queue of the broker's.
///
/// Holds its channel open. Dropped unsettled, it goes back to its queue at once.
#[derive(Debug)]
pub struct RabbitMqDelivery {
    envelope: Arc<Envelope>,
    failures: u32,
    history: History,
    marks: Marks,
    deliveries: Option<u32>,
    held: Held,
}

/// The hold on a message. Let go of, it gives the message back.
#[derive(Debug)]
struct Held {
    lease: Arc<Lease>,
    tag: u64,
    /// There is an order that it has a place in.
    has_place: bool,
    is_settled: bool,
    trials: Option<Box<Trials>>,
}

/// What the broker knows, or may know, of how often a message was handled alone.
#[derive(Debug)]
struct Trials {
    key: Key,
    /// The earlier deliveries that were trials.
    earlier: Vec<u32>,
    /// This delivery, if it is one.
    this: Option<u32>,
}

impl RabbitMqDelivery {
    /// The delivery `tag` of `lease`; `counts`: the broker counts deliveries.
    pub(super) fn new(incoming: Incoming, lease: Arc<Lease>, tag: u64, counts: bool) -> Self {
        lease.delivered(tag);
        let has_place = lease.origin().order.has_place_for(&incoming.received.envelope);
        let record = incoming.received.record;
        Self {
            envelope: Arc::new(incoming.received.envelope),
            failures: record.failures,
            history: record.history,
            marks: record.marks,
            deliveries: incoming.deliveries.filter(|_| counts),
            held: Held { lease, tag, has_place, is_settled: false, trials: None },
        }
    }

    /// Whether it may have been handled alone before, so that the broker should be asked.
    pub(super) fn may_have_been_tried(&self) -> bool {
        !self.earlier_trials().is_empty()
    }

    /// The deliveries before this one that may have been trials.
    fn earlier_trials(&self) -> Range<u32> {
        match (self.deliveries, self.marks.trials) {
            (Some(this), 0) => 3..this,
            // A copy that was tried before is handled alone from its first delivery on.
            (Some(this), _) => 1..this,
            // Without a count nobody is suspected, but for such a copy: its trials count themselves.
            (None, 0) => 0..0,
            (None, _) => 1..1 + UNCOUNTED_MAX,
        }
    }

    /// The number of a trial that begins now.
    fn next_trial(&self) -> Option<u32> {
        if self.deliveries.is_some() || self.marks.trials == 0 {
            return self.deliveries;
        }
        let earlier = self.held.trials.as_ref().and_then(|trials| trials.earlier.iter().max());
        Some(earlier.map_or(1, |last| last.saturating_add(1)))
    }

    /// With the trials that the broker remembers. If it does not say for long, it is as if there were
    /// none: it is tried once more, before the broker takes it back for having been held too long.
    pub(super) async fn with_trials(mut self) -> Self {
        let lease = self.held.lease.clone();
        let Origin { shared, queue, .. } = lease.origin();
        let (key, patience) = (self.key(), shared.options.hold_max / 5);
        let asked = shared.trials.trials(shared, key, self.earlier_trials());
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout(patience, asked) => answer,
            () = lease.lost() => return self,
        };
        match answer {
            Ok(Ok(earlier)) => {
                let count = u32::try_from(earlier.len()).unwrap_or(u32::MAX);
                self.marks.trials = self.marks.trials.saturating_add(count);
                self.held.trials = Some(Box::new(Trials { key, earlier, this: None }));
            }
            // The transport was closed, and everything goes back with it.
            Ok(Err(error)) => tracing::debug!(%queue, %error, "nobody says how often it was tried"),
            Err(_) => tracing::warn!(
                %queue,
                "the broker has not said for {patience:?} how often it was tried: once more"
            ),
        }
        self
    }

    fn key(&self) -> Key {
        Key::of(&self.held.lease.origin().queue, &self.envelope)
    }

    /// Whether the broker has taken it back.
    pub(super) fn is_lost(&self) -> bool {
        self.held.lease.is_lost()
    }
}

impl Delivery for RabbitMqDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    fn failures(&self) -> u32 {
        self.failures
    }

    fn deliveries(&self) -> Option<u32> {
        self.deliveries
    }

    fn history(&self) -> &[FailureNote] {
        self.history.notes()
    }

    fn marks(&self) -> Marks {
        self.marks
    }

    fn ticket(&self) -> Option<Ticket> {
        None
    }

    async fn mark_trial(&mut self) -> Result<()> {
        let Some(trial) = self.next_trial() else {
            // Nobody would know when to look for the mark.
            let what = "trials in a queue that does not count deliveries";
            return Err(Error::unsupported(what, "rabbitmq"));
        };
        let key = self.key();
        let none = || Box::new(Trials { key, earlier: Vec::new(), this: None });
        self.held.trials.get_or_insert_with(none).this = Some(trial);
        let lease = &self.held.lease;
        let Origin { shared, queue, .. } = lease.origin();
        tokio::select! {
            biased;
            () = lease.lost() => {
                let doing = format!("remember that a message of {queue} is handled alone: it was lost");
                return Err(Error::new(ErrorKind::Unavailable, doing));
            }
            marked = shared.trials.mark(lease.session(), key, trial) => marked?,
        }
        self.marks.trials = self.marks.trials.saturating_add(1);
        Ok(())
    }

    fn lost(&self) -> impl Future<Output = ()> + Send {
        self.held.lease.lost()
    }

    async fn settle(mut self, how: Settlement) -> Result<Settled> {
        match how {
            Settlement::Ack => {
                // Its trials end with it: a message of the same id that comes later is not to blame.
                self.held.forget_trials(|trials| trials.all()).await;
                Ok(self.held.done())
            }
            Settlement::Return => {
                // Who gives it back has outlived it.
                self.held.forget_trials(|trials| trials.this.into_iter().collect()).await;
                Ok(self.held.give_back())
            }
            // The engine sends a copy and acks. What was refused goes back with the drop.
            Settlement::Retry { .. } => {
                Err(Error::unsupported("a retry without a copy", "rabbitmq"))
            }
            Settlement::DeadLetter { .. } => {
                Err(Error::unsupported("a dead letter without a copy", "rabbitmq"))
            }
        }
    }

    /// No store shares its transactions with a broker: the message goes back.
    fn settled_by_store(self) {}
}

impl Trials {
    fn all(&self) -> Vec<u32> {
        self.earlier.iter().copied().chain(self.this).collect()
    }
}

impl Held {
    /// Lets the broker forget `which` trials, if it has any.
    async fn forget_trials(&mut self, which: impl FnOnce(&Trials) -> Vec<u32>) {
        let Some(trials) = &self.trials else { return };
        let which = which(trials);
        let forgotten = tokio::select! {
            biased;
            forgotten = forget(self.lease.session(), trials.key, &which) => forgotten,
            () = self.lease.lost() => return,
        };
        match forgotten {
            Ok(()) => self.trials = None,
            Err(error) => {
                let queue = &self.lease.origin().queue;
                tracing::warn!(%queue, %error, "if it comes again, its trials still count");
            }
        }
    }

    fn done(mut self) -> Settled {
        self.is_settled = true;
        self.lease.done(self.tag)
    }

    fn give_back(mut self) -> Settled {
        self.is_settled = true;
        self.lease.give_back(self.tag, self.has_place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.lease.give_back(self.tag, self.has_place);
        }
        let trial = self.trials.take().and_then(|trials| Some((trials.key, trials.this?)));
        if let Some((key, this)) = trial
            && self.lease.is_lost()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (shared, session) = (&self.lease.origin().shared, self.lease.session());
            runtime.spawn(acquit(Arc::downgrade(shared), session.clone(), key, this));
        }
    }
}
