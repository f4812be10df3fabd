//! Dead letters go back to their queue, at once or a few at a time.

use crate::memory::Memory;
use crate::queue::Place;
use crate::routes::QueueNumber;
use tramline_core::Result;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Chosen, Pace, Redrive};

impl Memory {
    /// What is dead when this is called is put back, and what dies meanwhile stays. Dropped between
    /// two steps, it has done those before.
    pub(crate) async fn put_back_dead(&self, queue: &QueueName, what: Redrive) -> Result<u64> {
        let pace = Pace::new(queue, what.rate, u32::MAX)?;
        let chosen = Chosen::new(queue, what.selection)?;
        let main = self.shared.routes().declared(&QueueRef::Main(queue.clone()))?;
        let ids = self.choose(main, &chosen);
        if what.dry_run {
            return Ok(ids.len() as u64);
        }
        let mut redriven = 0;
        let mut steps = ids.chunks(pace.at_once).peekable();
        while let Some(step) = steps.next() {
            redriven += self.step(main, step);
            if !pace.pause.is_zero() && steps.peek().is_some() {
                let clock = &self.shared.options.clock;
                clock.sleep_until(clock.now().after(pace.pause)).await;
            }
        }
        Ok(redriven)
    }

    /// The ids of chosen dead letters. What somebody has taken is not among them.
    fn choose(&self, main: QueueNumber, chosen: &Chosen) -> Vec<i64> {
        let now = self.shared.now();
        self.shared.change(|state| {
            let rows = state.queue_at(main.dead(), now).rows(None);
            let free = rows.filter(|(_, _, place)| !matches!(place, Place::Leased(_)));
            free.filter(|(_, row, _)| {
                chosen.holds_message(&row.envelope, row.record.death().as_ref())
            })
            .map(|(id, ..)| id)
            .collect()
        })
    }

    /// Puts back those of `ids` that are still there and free. Answers how many.
    fn step(&self, main: QueueNumber, ids: &[i64]) -> u64 {
        let now = self.shared.now();
        self.shared.change(|state| {
            let put = ids.iter().filter(|id| state.redrive(main, **id, now));
            put.count() as u64
        })
    }
}
