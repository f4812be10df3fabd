//! Takes messages, a task for each, and waits for what becomes of them.

use super::letter::Taken;
use super::writer::Hand;
use crate::Result;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many messages one claim takes, and how many may be unsettled.
const CLAIM: usize = 1000;
const UNSETTLED_MAX: usize = 2 * CLAIM;

/// What is done with a message.
pub(crate) trait Work: Clone + Send + Sync + 'static {
    /// What the handler itself does, in one of the slots.
    type Done: Send;
    fn handle(&self, taken: &Taken) -> Result<Self::Done>;
    /// What follows, outside of the slots.
    fn settle(
        &self,
        hand: &Hand,
        taken: &Taken,
        done: Self::Done,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Whether the slot is free before the message is settled.
    const SLOT_IS_FREE_BEFORE: bool;
}

/// Works until `messages` are settled.
pub(crate) async fn consume<W: Work>(
    hand: &Hand,
    messages: u64,
    concurrency: usize,
    work: W,
) -> Result<()> {
    let slots = Arc::new(Semaphore::new(concurrency));
    let unsettled = Arc::new(Semaphore::new(UNSETTLED_MAX));
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    let mut taken_ever = 0;
    let mut next = tokio::spawn(claim(hand.clone()));
    while taken_ever < messages {
        // Who fails while nothing arrives must be heard too.
        let claimed = tokio::select! {
            claimed = &mut next => claimed??,
            Some(ended) = tasks.join_next() => {
                ended??;
                continue;
            }
        };
        taken_ever += claimed.len() as u64;
        next = tokio::spawn(claim(hand.clone()));
        for taken in claimed {
            let slot = slots.clone().acquire_owned().await?;
            let place = unsettled.clone().acquire_owned().await?;
            let (work, hand) = (work.clone(), hand.clone());
            tasks.spawn(async move {
                let done = work.handle(&taken)?;
                let slot = (!W::SLOT_IS_FREE_BEFORE).then_some(slot);
                work.settle(&hand, &taken, done).await?;
                drop((slot, place));
                Ok(())
            });
            while let Some(ended) = tasks.try_join_next() {
                ended??;
            }
        }
    }
    next.abort();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// The next messages, as soon as there are any.
async fn claim(hand: Hand) -> Result<Vec<Taken>> {
    loop {
        let taken = hand.claim(CLAIM).await?;
        if !taken.is_empty() {
            return Ok(taken);
        }
        hand.arrived.notified().await;
    }
}
