//! The dead letters of all queues, each counted once.

use crate::database::KnownOrder;
use crate::endpoints::{ON_BOTH, ON_PAID, ON_PLACED, PAYMENT};
use std::collections::{BTreeMap, HashSet};
use tramline::core::operate::Peeked;
use tramline::{Bus, MessageId, Result};

/// Distinct dead letters, and why they died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetters {
    pub(crate) count: u64,
    /// How many died of each reason: queue, reason and last error.
    pub(crate) reasons: BTreeMap<String, u64>,
}

/// How many are looked at together.
const PAGE: u32 = 500;

impl DeadLetters {
    /// Those in all queues.
    pub(crate) async fn of_all(bus: &Bus) -> Result<Self> {
        let mut all = Self::default();
        for queue in ON_PLACED.into_iter().chain(ON_PAID).chain(ON_BOTH) {
            all.add(bus, queue, |_| true).await?;
        }
        Ok(all)
    }

    /// Those of `orders`: a broker that others use too may hold letters of theirs.
    pub(crate) async fn of_orders(bus: &Bus, orders: &[KnownOrder]) -> Result<Self> {
        let placed: HashSet<_> = orders.iter().map(|order| order.event_id.clone()).collect();
        let paid: HashSet<_> =
            orders.iter().map(|order| MessageId::derive(&order.event_id, PAYMENT, 0)).collect();
        let mut all = Self::default();
        let is_placed = |id: &MessageId| placed.contains(id);
        let is_paid = |id: &MessageId| paid.contains(id);
        for queue in ON_PLACED {
            all.add(bus, queue, |id| id.is_some_and(is_placed)).await?;
        }
        for queue in ON_PAID {
            all.add(bus, queue, |id| id.is_some_and(is_paid)).await?;
        }
        for queue in ON_BOTH {
            all.add(bus, queue, |id| id.is_some_and(|id| is_placed(id) || is_paid(id))).await?;
        }
        Ok(all)
    }

    async fn add(
        &mut self,
        bus: &Bus,
        queue: &str,
        is_ours: impl Fn(Option<&MessageId>) -> bool,
    ) -> Result<()> {
        let letters = bus.dead_letters(queue)?;
        let (mut seen, mut after) = (HashSet::new(), None);
        loop {
            let page = letters.peek(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.position);
            for letter in page {
                let id = letter.envelope.id.clone();
                if is_ours(id.as_ref()) && seen.insert(id) {
                    self.count += 1;
                    *self.reasons.entry(reason(queue, &letter)).or_default() += 1;
                }
            }
        }
    }
}

fn reason(queue: &str, letter: &Peeked) -> String {
    let Some(death) = &letter.death else { return format!("{queue}: unknown") };
    match death.history.notes().last() {
        Some(note) => format!("{queue}: {}: {}", death.reason, note.error),
        None => format!("{queue}: {}", death.reason),
    }
}
