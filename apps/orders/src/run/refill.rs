//! A bus in memory forgets. What was still to be done is in the tables, and is told again.

use super::look::{Gauge, look};
use crate::database::{Database, KnownOrder};
use crate::endpoints::PAYMENT;
use crate::messages::{OrderEvent, OrderPaid, OrderPlaced};
use crate::report::Figures;
use std::time::Duration;
use tramline::{Bus, Failure, MessageId};

/// How many orders are told of at once.
const ORDERS_AT_ONCE: usize = 500;
/// How much may wait before more is told: memory is bounded too.
const BACKLOG_MAX: u64 = 5_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Publishes again what is known of orders with something left to do, under the ids of the first
/// time: inboxes know what was handled, and refuse it.
pub(crate) async fn refill(bus: &Bus, database: &Database) -> Result<(), Failure> {
    let mut orders = database.orders().await?;
    let expected = Figures::expected(orders.iter().map(|known| &known.order));
    let is_done = Figures::found(&database.effects().await?, expected.dead_lettered) == expected;
    // One that waits has not heard yet that its order is paid.
    let no_reminder_waits = bus.schedules()?.named(None, 1).await?.is_empty();
    if is_done && no_reminder_waits {
        // Only the dead letters are missing.
        orders.retain(|known| !known.is_paid);
    }
    for orders in orders.chunks(ORDERS_AT_ONCE) {
        tell(bus, orders).await?;
        while look(bus, database, Gauge::Queues).await?.backlog() > BACKLOG_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

async fn tell(bus: &Bus, orders: &[KnownOrder]) -> Result<(), Failure> {
    let placed: Vec<_> = orders.iter().map(|known| OrderPlaced(known.order)).collect();
    let drafts =
        placed.iter().zip(orders).map(|(event, known)| event.draft().id(known.event_id.clone()));
    for receipt in bus.publish_all(drafts).await {
        receipt?;
    }
    let paid: Vec<_> = orders.iter().filter(|known| known.is_paid).collect();
    let events: Vec<_> = paid.iter().map(|known| OrderPaid(known.order)).collect();
    let drafts = events.iter().zip(paid).map(|(event, known)| {
        // As the first message that payment publishes about this event was called.
        event.draft().id(MessageId::derive(&known.event_id, PAYMENT, 0))
    });
    for receipt in bus.publish_all(drafts).await {
        receipt?;
    }
    Ok(())
}
