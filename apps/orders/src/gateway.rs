//! The payment gateway: simulated, with answers that depend on the order and the attempt alone.

use crate::order::Order;
use std::fmt;
use tramline::{Attempt, Failure};

/// Stands in for a payment provider's client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gateway;

/// Every so many orders meet a gateway that is down…
pub(crate) const TROUBLED_EVERY: i64 = 97;
/// …for so many attempts.
pub(crate) const TROUBLED_ATTEMPTS: u32 = 2;

impl Gateway {
    /// Charges the order's total.
    ///
    /// # Errors
    /// Permanent where there is nothing to charge; transient for an order in trouble, until its
    /// third attempt.
    pub(crate) async fn charge(self, order: &Order, attempt: Attempt) -> Result<(), Failure> {
        if !order.is_chargeable() {
            return Err(Failure::permanent("nothing to charge"));
        }
        if order.order_id % TROUBLED_EVERY == 0 && attempt.0 <= TROUBLED_ATTEMPTS {
            return Err(GatewayDown.into());
        }
        Ok(())
    }
}

/// The gateway does not answer; it may soon.
#[derive(Debug)]
pub(crate) struct GatewayDown;

impl fmt::Display for GatewayDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payment gateway does not answer")
    }
}

impl std::error::Error for GatewayDown {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Written;

    async fn answer(order_id: &str, total: &str, attempt: u32) -> Result<(), Failure> {
        let written = Written::bare([order_id, "1", "1997-01-01", "1", total]);
        Gateway.charge(&Order::read(&written).unwrap(), Attempt(attempt)).await
    }

    #[tokio::test]
    async fn orders_in_trouble_fail_twice_and_then_succeed() {
        for (attempt, succeeds) in [(1, false), (2, false), (3, true), (4, true)] {
            let answer = answer("194", "1.00", attempt).await;
            assert_eq!(answer.is_ok(), succeeds, "attempt {attempt}");
            assert!(!answer.is_err_and(|failure| failure.is_permanent()));
        }
        assert!(answer("195", "1.00", 1).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_to_charge_is_permanent_even_for_an_order_in_trouble() {
        for total in ["0.00", "-5.00"] {
            assert!(answer("97", total, 1).await.unwrap_err().is_permanent());
        }
    }
}
