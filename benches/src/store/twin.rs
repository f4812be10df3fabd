//! The twin: a savepoint for each message on the connection that writes.

use super::cases::{Came, IN_FLIGHT};
use crate::Result;
use crate::folder::{file, folder};
use crate::hand::{Hand, Handled, Letter, Taken, Work, consume, fill, prepare};
use crate::load::runtime;
use crate::round::Run;
use crate::stopwatch::Stopwatch;

pub(super) fn handle(messages: u64, came: Came) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        fill(&file(&folder), messages, came.flags())?;
        let watch = Stopwatch::start();
        let hand = Hand::open(&file(&folder))?;
        consume(&hand, messages, IN_FLIGHT, Charge(came)).await?;
        Ok(watch.rate(messages))
    })
}

#[derive(Clone)]
struct Charge(Came);

impl Work for Charge {
    type Done = Handled;
    const SLOT_IS_FREE_BEFORE: bool = false;

    fn handle(&self, taken: &Taken) -> Result<Handled> {
        let (envelope, order) = taken.read()?;
        Ok(Handled {
            order: order.order_id,
            cents: order.cents(),
            seen: matches!(self.0, Came::FromClient).then(|| envelope.id.clone()).flatten(),
            event: Letter::paid(order, &envelope)?,
        })
    }

    async fn settle(&self, hand: &Hand, taken: &Taken, handled: Handled) -> Result<()> {
        hand.handle(taken, handled).await
    }
}
