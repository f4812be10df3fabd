//! How much is in stock, as the tables have said a moment ago.

use super::Database;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tramline::Failure;

/// What the warehouse holds before the first order.
pub(super) const UNITS_DELIVERED: i64 = 1_000_000;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is left. Nobody who asks waits for the database: it is looked at beside the work, and while it is away what
/// was known last is good enough for a question. Clones look at the same stock.
#[derive(Clone, Debug)]
pub(crate) struct Stock(Arc<AtomicI64>);

impl Stock {
    /// Looks, and goes on looking for as long as anybody has it.
    pub(crate) async fn watch(database: Database) -> Result<Self, Failure> {
        let stock = Self::of(database.units_left().await?);
        tokio::spawn(keep_looking(Arc::downgrade(&stock.0), database));
        Ok(stock)
    }

    /// So much is left, once and for all.
    pub(crate) fn of(units: i64) -> Self {
        Self(Arc::new(AtomicI64::new(units)))
    }

    pub(crate) fn units_left(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

async fn keep_looking(stock: Weak<AtomicI64>, database: Database) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stock.strong_count() > 0 {
        looks.tick().await;
        match (database.units_left().await, stock.upgrade()) {
            (Ok(units), Some(stock)) => stock.store(units, Relaxed),
            (Err(error), Some(_)) => tracing::debug!(%error, "what is in stock is not known anew"),
            (_, None) => return,
        }
    }
}
