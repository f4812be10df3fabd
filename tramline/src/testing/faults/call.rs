//! The calls in which something can go wrong, and what that can be.

use std::fmt;
use std::time::Duration;

/// One life of one process: both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LifeId {
    pub(crate) process: u32,
    pub(crate) life: u32,
}

impl fmt::Display for LifeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}, life {}", self.process, self.life)
    }
}

/// One call: the `nth` of its kind in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Site {
    pub(crate) life: LifeId,
    pub(crate) call: Call,
    pub(crate) nth: u32,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` no. {}", self.life, self.call.name(), self.nth)
    }
}

/// A call of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    Declare,
    Sender,
    Receiver,
    Close,
    Send,
    Next,
    Stop,
    MarkTrial,
    Settle,
    Begin,
    Commit,
    Admitted,
    PruneInbox,
    Claim,
    Sent,
    Postpone,
    GiveBack,
    Park,
    NextDue,
    Redrive,
    Purge,
    Unsubscribe,
    /// A call of the application's own fakes.
    Outside(&'static str),
}

impl Call {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Declare => "transport.declare",
            Self::Sender => "transport.sender",
            Self::Receiver => "transport.receiver",
            Self::Close => "transport.close",
            Self::Send => "sender.send",
            Self::Next => "receiver.next",
            Self::Stop => "receiver.stop",
            Self::MarkTrial => "delivery.mark_trial",
            Self::Settle => "delivery.settle",
            Self::Begin => "store.begin",
            Self::Commit => "store.commit",
            Self::Admitted => "store.admitted",
            Self::PruneInbox => "store.prune_inbox",
            Self::Claim => "outbox.claim",
            Self::Sent => "outbox.sent",
            Self::Postpone => "outbox.postpone",
            Self::GiveBack => "outbox.give_back",
            Self::Park => "outbox.park",
            Self::NextDue => "outbox.next_due",
            Self::Redrive => "operate.redrive",
            Self::Purge => "operate.purge",
            Self::Unsubscribe => "operate.unsubscribe",
            Self::Outside(name) => name,
        }
    }

    /// What can go wrong in it.
    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Close | Self::Stop => &[Kind::Fail],
            Self::Send => {
                use Kind::{Astray, Delay, Fail, Half, Lose, Reorder, Twice};
                &[Fail, Half, Lose, Delay, Twice, Reorder, Astray]
            }
            Self::Commit => &[Kind::Fail, Kind::Lose, Kind::Delay, Kind::Astray],
            Self::Next => &[Kind::Fail, Kind::Delay, Kind::Reorder, Kind::LoseLease],
            _ => &[Kind::Fail, Kind::Lose, Kind::Delay],
        }
    }
}

/// A kind of fault; each has a rate of its own in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fail,
    Half,
    Lose,
    Delay,
    Twice,
    Reorder,
    LoseLease,
    Astray,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Fail,
        Self::Half,
        Self::Lose,
        Self::Delay,
        Self::Twice,
        Self::Reorder,
        Self::LoseLease,
        Self::Astray,
    ];
}

/// What goes wrong in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing happens.
    Fail,
    /// It happens for every second of what was asked, and not for the first.
    Half,
    /// It happens, and the answer is lost.
    Lose,
    /// It happens, but late.
    Delay(Duration),
    /// It happens twice.
    Twice,
    /// What it is about comes in another order.
    Reorder,
    /// The lease of what was delivered ends at once.
    LoseLease,
    /// Nothing happens, and whoever asked cannot know that.
    Astray,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fails before its effect"),
            Self::Half => f.write_str("does every second part of it only"),
            Self::Lose => f.write_str("loses its answer after its effect"),
            Self::Delay(late) => write!(f, "is {late:?} late"),
            Self::Twice => f.write_str("happens twice"),
            Self::Reorder => f.write_str("changes the order"),
            Self::Astray => f.write_str("goes astray before its effect, and nobody can know"),
            Self::LoseLease => f.write_str("loses the lease of what it delivers"),
        }
    }
}
