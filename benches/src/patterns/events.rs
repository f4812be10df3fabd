//! A domain event to three handlers, and a list of boxed functions that are called one after the other, each
//! with a guard against panics.

use crate::Result;
use crate::load::one_thread;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::hint::black_box;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tramline::State;
use tramline::events::{Event, Events};
use tramline::pipeline::Outcome;

#[derive(Clone)]
struct Placed {
    order: u64,
}

type Sum = Arc<AtomicU64>;

async fn add(placed: Placed, State(sum): State<Sum>) -> Outcome {
    sum.fetch_add(black_box(placed.order), Ordering::Relaxed);
    Ok(())
}

pub(super) fn ours(events: u64) -> Result<Run> {
    one_thread()?.block_on(async {
        let sum = Sum::default();
        let placed = Event::new().handle(add).handle(add).handle(add);
        let publisher = Events::builder().state(sum.clone()).event(placed).start()?;
        let watch = Stopwatch::start();
        for order in 0..events {
            publisher.publish(&Placed { order }).await?;
        }
        checked(&sum, events)?;
        Ok(watch.rate(events))
    })
}

type Handler = Box<dyn Fn(Placed) -> BoxFuture<'static, Outcome>>;

pub(super) fn twin(events: u64) -> Result<Run> {
    one_thread()?.block_on(async {
        let sum = Sum::default();
        let handlers: Vec<Handler> = (0..3)
            .map(|_| {
                let sum = sum.clone();
                Box::new(move |placed| add(placed, State(sum.clone())).boxed()) as Handler
            })
            .collect();
        let watch = Stopwatch::start();
        for order in 0..events {
            let placed = Placed { order };
            for handler in &handlers {
                let handled = AssertUnwindSafe(handler(placed.clone())).catch_unwind().await;
                handled.map_err(|_| "panicked")??;
            }
        }
        checked(&sum, events)?;
        Ok(watch.rate(events))
    })
}

fn checked(sum: &Sum, events: u64) -> Result<()> {
    let expected = 3 * (events * events.saturating_sub(1) / 2);
    if sum.load(Ordering::Relaxed) == expected { Ok(()) } else { Err("events are missing".into()) }
}
