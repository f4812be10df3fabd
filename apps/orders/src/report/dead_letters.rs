//! The dead letters of all queues, each counted once.

use crate::endpoints::{ON_PAID, ON_PLACED};
use std::collections::{BTreeMap, HashSet};
use tramline::core::operate::Peeked;
use tramline::{Bus, Result};

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
    pub(crate) async fn of(bus: &Bus) -> Result<Self> {
        let mut all = Self::default();
        for queue in ON_PLACED.into_iter().chain(ON_PAID) {
            all.add(bus, queue).await?;
        }
        Ok(all)
    }

    async fn add(&mut self, bus: &Bus, queue: &str) -> Result<()> {
        let letters = bus.dead_letters(queue)?;
        let (mut seen, mut after) = (HashSet::new(), None);
        loop {
            let page = letters.peek(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.position);
            for letter in page {
                if seen.insert(letter.envelope.id.clone()) {
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
