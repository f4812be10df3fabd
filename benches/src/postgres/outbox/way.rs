//! How transactions come, and what is told of their events.

use crate::Result;
use crate::latency::{Latencies, paced};
use crate::load::call;
use crate::message::OrderPlaced;
use crate::postgres::database::Meter;
use crate::round::{Figure, Run};
use std::time::Instant;

/// Messages a second, where they are paced.
pub(in crate::postgres) const PACE: u64 = 500;
/// Who writes at once, where they are not.
const WRITERS: u64 = 16;

/// How transactions come.
#[derive(Clone, Copy)]
pub(in crate::postgres) enum Way {
    /// Each writer begins one when the last has ended.
    AtOnce,
    Paced,
}

/// The lag is from the beginning of a transaction to the handler of its event.
pub(in crate::postgres) const FIGURES: &[Figure] = &[
    Figure { name: "", unit: "msg/s" },
    Figure { name: "lag p50", unit: "ms" },
    Figure { name: "lag p99", unit: "ms" },
    Figure { name: "server's CPU", unit: "µs/msg" },
];

impl Way {
    /// Makes a transaction for each order, and waits until the last event was handled.
    pub(super) async fn run<W, F>(
        self,
        meter: &Meter<'_>,
        messages: u64,
        latencies: &Latencies,
        write: W,
    ) -> Result<Run>
    where
        W: Fn(OrderPlaced) -> F + Clone + Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let began = Instant::now();
        match self {
            Self::AtOnce => {
                call(WRITERS, messages, move |number| write(OrderPlaced::new(number))).await?;
            }
            Self::Paced => paced(messages, PACE, write).await?,
        }
        latencies.done.wait().await;
        let rate = messages as f64 / began.elapsed().as_secs_f64();
        let mut values = vec![rate];
        values.extend(latencies.percentiles(&[50, 99]));
        Ok(meter.run(messages, values))
    }
}
