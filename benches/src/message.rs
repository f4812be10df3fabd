//! The message of all benches: an order of 256 bytes.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tramline::Message;
use tramline::core::clock::{Clock, SystemClock};

const FIRST_ID: u64 = 1_000_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: u64,
    user_id: u64,
    /// Microseconds since 1970, for the way from end to end.
    pub(crate) placed_at: i64,
    units: u32,
    total: Cow<'static, str>,
    customer: Cow<'static, str>,
    street: Cow<'static, str>,
    city: Cow<'static, str>,
    note: Cow<'static, str>,
}

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
}

/// What the handler of an order publishes: the same order again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderPaid(pub(crate) OrderPlaced);

impl Message for OrderPaid {
    const NAME: &'static str = "orders.paid";
}

impl OrderPlaced {
    /// The `number`-th order, placed now. All are of the same size up to nine million.
    pub(crate) fn new(number: u64) -> Self {
        Self {
            order_id: FIRST_ID + number,
            user_id: 10_000 + number % 10_000,
            placed_at: SystemClock.now().as_micros(),
            units: 3,
            total: "1011.77".into(),
            customer: "Ada Lovelace".into(),
            street: "12 St James's Square".into(),
            city: "London SW1Y 4JH".into(),
            note: "leave it at the door if nobody is at home, and ring at number 14 later".into(),
        }
    }

    /// Which one it is.
    pub(crate) fn number(&self) -> u64 {
        self.order_id.saturating_sub(FIRST_ID)
    }

    pub(crate) fn cents(&self) -> i64 {
        let digits = self.total.bytes().filter(u8::is_ascii_digit);
        digits.fold(0, |cents, digit| cents * 10 + i64::from(digit - b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_takes_256_bytes() {
        for number in [0, 7, 8_999_999] {
            let body = serde_json::to_string(&OrderPlaced::new(number)).unwrap();
            assert_eq!(body.len(), 256, "{body}");
        }
    }
}
