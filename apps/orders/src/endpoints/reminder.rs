//! Reminds customers of orders that are not paid in time.

use super::light::{REMINDER, light};
use crate::database::Tables;
use crate::messages::{OrderPaid, OrderPlaced, RemindCustomer};
use crate::order::Order;
use std::time::Duration;
use tramline::{Endpoint, Failure, Planner, Tx};

/// Customers have so long to pay.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The event that an order was paid may come first: its cancellation wins all the same.
pub(super) fn endpoint<S: Tables>() -> Endpoint {
    light(REMINDER)
        .subscribe::<OrderPlaced>()
        .subscribe::<OrderPaid>()
        .handle(plan)
        .handle(cancel)
        .handle(remind::<S>)
}

async fn plan(OrderPlaced(order): OrderPlaced, planner: Planner) -> Result<(), Failure> {
    // Where there is nothing to charge there is nothing to pay.
    if order.is_chargeable() {
        planner.schedule_to(REMINDER, reminder_name(&order), PATIENCE, &RemindCustomer(order))?;
    }
    Ok(())
}

async fn cancel(OrderPaid(order): OrderPaid, planner: Planner) -> Result<(), Failure> {
    planner.cancel(&reminder_name(&order))
}

async fn remind<S: Tables>(
    RemindCustomer(order): RemindCustomer,
    mut tx: Tx<S>,
) -> Result<(), Failure> {
    S::send_reminder(&mut tx, order.order_id, text(&order))
}

/// Of the schedule that is the reminder of `order`.
pub(crate) fn reminder_name(order: &Order) -> String {
    format!("reminder:{}", order.order_id)
}

/// The mail as the customer reads it.
fn text(Order { order_id, user_id, date, total, .. }: &Order) -> String {
    format!(
        "To: customer-{user_id}@example.com\n\
         Subject: Your order {order_id} is not paid\n\n\
         We have your order of {date}, and could not charge {total} dollars yet.\n"
    )
}
