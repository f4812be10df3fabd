//! A look at how far a run is.

use crate::database::Database;
use crate::endpoints::{ON_PAID, ON_PLACED, PAYMENT};
use std::fmt;
use tramline::core::operate::{Depth, Figure};
use tramline::core::store::Store;
use tramline::{Bus, Failure, QueueName};

/// How far a run is. Two equal ones: nothing has moved between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) mails: u64,
    /// Events that wait for their way to the bus, where that is elsewhere.
    pub(crate) outbox: u64,
    pub(crate) queues: Vec<QueueLook>,
}

/// What is in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueLook {
    pub(crate) name: &'static str,
    pub(crate) ready: u64,
    pub(crate) leased: u64,
    pub(crate) delayed: u64,
    pub(crate) dead: u64,
}

/// Looks at everything, upstream first: outbox, queues of placed orders, queues of paid ones.
///
/// The figures are not of one moment. But if no order is placed any more, work flows downstream
/// only, and a message that a first look misses between two places, a second one finds behind them:
/// two idle looks in a row are the end.
pub(crate) async fn look(bus: &Bus, database: &Database) -> Result<Look, Failure> {
    let (waiting, parked) = database.store().outbox().depth().await?;
    let mut queues = Vec::with_capacity(ON_PLACED.len() + ON_PAID.len());
    for name in ON_PLACED.into_iter().chain(ON_PAID) {
        let depth = bus.operate()?.depth(&QueueName::new(name)?).await?;
        queues.push(QueueLook::new(name, depth)?);
    }
    Ok(Look { mails: database.mails_written().await?, outbox: waiting + parked, queues })
}

impl Look {
    /// Orders that nothing more happens to: mailed, or rejected by payment.
    pub(crate) fn orders_done(&self) -> u64 {
        let payment = self.queues.iter().find(|queue| queue.name == PAYMENT);
        self.mails + payment.map_or(0, |payment| payment.dead)
    }

    /// How much waits or is at work.
    pub(crate) fn backlog(&self) -> u64 {
        self.outbox + self.queues.iter().map(QueueLook::alive).sum::<u64>()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.backlog() == 0
    }
}

impl QueueLook {
    fn new(name: &'static str, depth: Depth) -> Result<Self, Failure> {
        let known = |figure: Figure| {
            figure.known().ok_or_else(|| Failure::permanent(format!("depth of {name}: {figure}")))
        };
        let Depth { ready, leased, delayed, dead } = depth;
        Ok(Self {
            name,
            ready: known(ready)?,
            leased: known(leased)?,
            delayed: known(delayed)?,
            dead: known(dead)?,
        })
    }

    fn alive(&self) -> u64 {
        self.ready + self.leased + self.delayed
    }
}

/// What is where, in few words.
impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.outbox > 0 {
            write!(f, "outbox {} ", self.outbox)?;
        }
        for (index, queue) in self.queues.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{} {}", queue.name, queue.alive())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &'static str, [ready, leased, delayed, dead]: [u64; 4]) -> QueueLook {
        QueueLook { name, ready, leased, delayed, dead }
    }

    #[test]
    fn an_order_is_done_when_it_is_mailed_or_rejected() {
        let queues = vec![queue("payment", [1, 1, 1, 5]), queue("email", [0, 2, 0, 9])];
        let look = Look { mails: 10, outbox: 0, queues };
        assert_eq!((look.orders_done(), look.backlog()), (15, 5));
        assert_eq!(look.to_string(), "payment 3 email 2");
    }

    #[test]
    fn dead_letters_are_no_backlog_and_waiting_events_are() {
        let queues = vec![queue("payment", [0, 0, 0, 5])];
        let mut look = Look { mails: 10, outbox: 0, queues };
        assert!(look.is_idle());
        look.outbox = 1;
        assert!(!look.is_idle() && look.to_string().starts_with("outbox 1 payment"));
    }
}
