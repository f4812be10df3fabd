//! A look at how far a run is.

use crate::database::Database;
use crate::endpoints::{ANALYTICS, EMAIL, INVENTORY, ON_BOTH, ON_PAID, ON_PLACED, PAYMENT, VIP};
use crate::report::DeadLetters;
use std::fmt;
use std::time::Duration;
use tramline::core::operate::{Depth, Figure};
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

/// How it is seen how far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gauge {
    /// By what is in the queues: the broker is ours alone, and its figures are of this moment.
    Queues,
    /// By what the tables say is still to come: the broker is a server, which tells how full its
    /// queues are some seconds late, and not at all while it is down.
    Tables,
}

impl Gauge {
    pub(crate) fn of(broker: &str) -> Self {
        if broker.starts_with("amqp") || broker.starts_with("postgres") {
            Self::Tables
        } else {
            Self::Queues
        }
    }

    /// How often to look. The tables are gone through as a whole.
    pub(super) fn look_every(self) -> Duration {
        match self {
            Self::Queues => Duration::from_millis(50),
            Self::Tables => Duration::from_millis(200),
        }
    }
}

/// Looks at everything.
pub(crate) async fn look(bus: &Bus, database: &Database, gauge: Gauge) -> Result<Look, Failure> {
    let outbox = database.outbox_depth().await?;
    match gauge {
        Gauge::Queues => in_queues(bus, database, outbox).await,
        Gauge::Tables => by_tables(bus, database, outbox).await,
    }
}

/// Looks into the queues, upstream first: outbox, queues of placed orders, of paid ones, and of both.
///
/// The figures are not of one moment. But if no order is placed any more, work flows downstream
/// only, and a message that a first look misses between two places, a second one finds behind them:
/// two idle looks in a row are the end.
async fn in_queues(bus: &Bus, database: &Database, outbox: u64) -> Result<Look, Failure> {
    let mut queues = Vec::with_capacity(ON_PLACED.len() + ON_PAID.len() + ON_BOTH.len());
    for name in ON_PLACED.into_iter().chain(ON_PAID).chain(ON_BOTH) {
        let depth = bus.operate()?.depth(&QueueName::new(name)?).await?;
        queues.push(QueueLook::new(name, depth)?);
    }
    Ok(Look { mails: database.mails_written().await?, outbox, queues })
}

/// What the tables say is still to come of each queue. Which orders were rejected they do not know:
/// dead letters are counted once nothing else is missing.
async fn by_tables(bus: &Bus, database: &Database, outbox: u64) -> Result<Look, Failure> {
    let due = database.due().await?;
    let mut look = Look {
        mails: due.mailed,
        outbox,
        queues: vec![
            QueueLook { dead: due.rejected, ..QueueLook::due(PAYMENT, due.charges) },
            // Units are none of its messages, but while there are some there is a message.
            QueueLook::due(INVENTORY, due.units.min(1)),
            QueueLook::due(VIP, due.vips),
            QueueLook::due(EMAIL, due.mails),
            QueueLook::due(ANALYTICS, due.counts),
        ],
    };
    if look.is_idle() && due.rejected > 0 {
        let orders = database.orders().await?;
        // A broker that is down now has an answer at the next look.
        let found = DeadLetters::of_orders(bus, &orders).await.map_or(0, |dead| dead.count);
        look.queues[0].ready = due.rejected.saturating_sub(found);
    }
    Ok(look)
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
    fn due(name: &'static str, ready: u64) -> Self {
        Self { name, ready, leased: 0, delayed: 0, dead: 0 }
    }

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
