//! Counts revenue and orders per month, many orders at a time.

use super::light::{ANALYTICS, light};
use crate::database::{Tables, Takings};
use crate::messages::OrderPaid;
use crate::order::Order;
use std::collections::BTreeMap;
use std::time::Duration;
use tramline::handler::Item;
use tramline::{Endpoint, Failure, Tx};

const BATCH_MAX: usize = 256;
/// A batch waits so long for more: nobody waits for its figures.
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// Batches at once.
const BATCHES: usize = 4;

pub(super) fn endpoint<S: Tables>() -> Endpoint {
    light(ANALYTICS)
        .subscribe::<OrderPaid>()
        .batch(BATCH_MAX, BATCH_WAIT)
        .concurrency(BATCHES)
        .handle_batch(count::<S>)
}

async fn count<S: Tables>(items: Vec<Item<OrderPaid>>, mut tx: Tx<S>) -> Result<(), Failure> {
    let months = by_month(items.iter().map(|item| &item.message.0));
    S::add_to_months(&mut tx, months)
}

/// The takings of each month, by its name such as `1997-01`.
fn by_month<'a>(orders: impl Iterator<Item = &'a Order>) -> BTreeMap<String, Takings> {
    let mut months: BTreeMap<String, Takings> = BTreeMap::new();
    for order in orders {
        let month = format!("{:04}-{:02}", order.date.year(), order.date.month());
        let takings = months.entry(month).or_default();
        takings.orders += 1;
        takings.revenue.cents += order.total.cents;
    }
    months
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Money;
    use crate::order::Written;

    fn order(date: &str, total: &str) -> Order {
        Order::read(&Written::bare(["1", "1", date, "1", total])).unwrap()
    }

    #[test]
    fn months_are_told_apart() {
        let orders = [("1997-01-01", "1.10"), ("1998-01-01", "5.00"), ("1997-01-31", "2.20")];
        let orders = orders.map(|(date, total)| order(date, total));
        let months: Vec<_> = by_month(orders.iter()).into_iter().collect();
        let takings = |orders, cents| Takings { orders, revenue: Money::of_cents(cents) };
        let expected = [("1997-01", takings(2, 330)), ("1998-01", takings(1, 500))];
        assert_eq!(months, expected.map(|(month, takings)| (month.to_owned(), takings)));
    }
}
