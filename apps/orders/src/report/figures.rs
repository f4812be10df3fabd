//! The figures that are known before a run.

use crate::database::Effects;
use crate::gateway::{TROUBLED_ATTEMPTS, TROUBLED_EVERY};
use crate::money::Money;
use crate::order::Order;

/// What all orders together come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) accepted: u64,
    pub(crate) charged: u64,
    /// Orders with a charge: the same, unless one was charged twice.
    pub(crate) orders_charged: u64,
    pub(crate) revenue: Money,
    pub(crate) units: u64,
    pub(crate) emails: u64,
    pub(crate) analytics_orders: u64,
    pub(crate) analytics_revenue: Money,
    pub(crate) vip: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) retried: u64,
}

const VIP_OVER: Money = Money::of_cents(100_000);

impl Figures {
    /// What `orders` must come to, whatever happens on the way.
    pub(crate) fn expected<'a>(orders: impl Iterator<Item = &'a Order>) -> Self {
        let mut figures = Self::default();
        for order in orders {
            figures.accepted += 1;
            figures.units += order.units.unsigned_abs();
            figures.vip += u64::from(order.total > VIP_OVER);
            if !order.is_chargeable() {
                figures.dead_lettered += 1;
                continue;
            }
            figures.charged += 1;
            figures.revenue.cents += order.total.cents;
            if order.order_id % TROUBLED_EVERY == 0 {
                figures.retried += u64::from(TROUBLED_ATTEMPTS);
            }
        }
        figures.orders_charged = figures.charged;
        figures.emails = figures.charged;
        figures.analytics_orders = figures.charged;
        figures.analytics_revenue = figures.revenue;
        figures
    }

    /// What is in the tables, and in the dead-letter queues.
    pub(crate) fn found(effects: &Effects, dead_lettered: u64) -> Self {
        Self {
            accepted: effects.orders,
            charged: effects.charges,
            orders_charged: effects.orders_charged,
            revenue: effects.revenue,
            units: effects.units_taken,
            emails: effects.mails,
            analytics_orders: effects.counted_orders,
            analytics_revenue: effects.counted_revenue,
            vip: effects.vips,
            dead_lettered,
            retried: effects.failed_attempts,
        }
    }

    /// One line for each figure that is not as `expected`.
    pub(crate) fn differences(&self, expected: &Self) -> Vec<String> {
        let rows = self.rows().into_iter().zip(expected.rows());
        let differing = rows.filter(|((_, found), (_, expected))| found != expected);
        let line = |((name, found), (_, expected))| format!("{name} is {found}, not {expected}");
        differing.map(line).collect()
    }

    fn rows(&self) -> [(&'static str, String); 11] {
        [
            ("accepted", self.accepted.to_string()),
            ("charged", self.charged.to_string()),
            ("orders charged", self.orders_charged.to_string()),
            ("revenue", self.revenue.to_string()),
            ("units", self.units.to_string()),
            ("emails", self.emails.to_string()),
            ("orders in analytics", self.analytics_orders.to_string()),
            ("analytics_revenue", self.analytics_revenue.to_string()),
            ("vip", self.vip.to_string()),
            ("dead_lettered", self.dead_lettered.to_string()),
            ("retried", self.retried.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

    #[test]
    fn the_shipped_orders_come_to_the_known_totals() {
        let orders = data::shipped(usize::MAX).unwrap();
        let expected = Figures {
            accepted: 69_659,
            charged: 69_579,
            orders_charged: 69_579,
            revenue: "2500315.63".parse().unwrap(),
            units: 167_881,
            emails: 69_579,
            analytics_orders: 69_579,
            analytics_revenue: "2500315.63".parse().unwrap(),
            vip: 3,
            dead_lettered: 80,
            retried: 1_436,
        };
        assert_eq!(Figures::expected(orders.iter()), expected);
    }

    #[test]
    fn every_figure_that_differs_is_told() {
        let orders = data::shipped(1000).unwrap();
        let expected = Figures::expected(orders.iter());
        let found = Figures { charged: expected.charged + 1, vip: 9, ..expected.clone() };
        let charged = expected.charged;
        let lines =
            [format!("charged is {}, not {charged}", charged + 1), "vip is 9, not 0".to_owned()];
        assert_eq!(found.differences(&expected), lines);
        assert_eq!(expected.differences(&expected), [""; 0]);
    }
}
