//! What the service tells the world. Both events carry the whole order, so that nobody who hears of
//! one has to ask back.

use crate::order::Order;
use serde::{Deserialize, Serialize};
use tramline::request::Request;
use tramline::{Draft, Message};

/// An order was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OrderPlaced(pub(crate) Order);

impl Message for OrderPlaced {
    const NAME: &'static str = "orders.placed";
    const PROMOTE: &'static [&'static str] = &["total"];
}

/// An order was charged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OrderPaid(pub(crate) Order);

impl Message for OrderPaid {
    const NAME: &'static str = "orders.paid";
}

/// A customer is to be reminded of an order that is not paid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RemindCustomer(pub(crate) Order);

impl Message for RemindCustomer {
    const NAME: &'static str = "orders.remind";
}

/// How much is left in the stock?
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CheckStock;

impl Message for CheckStock {
    const NAME: &'static str = "stock.check";
}

impl Request for CheckStock {
    type Reply = StockChecked;
}

/// What the stock says: less than nothing where more was ordered than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StockChecked {
    pub(crate) units_left: i64,
}

impl Message for StockChecked {
    const NAME: &'static str = "stock.checked";
}

/// The takings so far are to be written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WriteReport;

impl Message for WriteReport {
    const NAME: &'static str = "reports.write";
}

/// An event about an order, ready to be published. Its key keeps all that happens to one order
/// together wherever the transport orders by key.
pub(crate) trait OrderEvent: Message {
    fn order(&self) -> &Order;

    fn draft(&self) -> Draft<'_, Self> {
        Draft::of(self).key(self.order().order_id.to_string())
    }
}

impl OrderEvent for OrderPlaced {
    fn order(&self) -> &Order {
        &self.0
    }
}

impl OrderEvent for OrderPaid {
    fn order(&self) -> &Order {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Written;

    #[test]
    fn the_body_is_the_order_with_its_total_as_text() {
        let written = Written::bare(["1", "2", "1997-01-31", "3", "11.77"]);
        let placed = OrderPlaced(Order::read(&written).unwrap());
        let body = r#"{"order_id":1,"user_id":2,"date":"1997-01-31","units":3,"total":"11.77"}"#;
        assert_eq!(serde_json::to_string(&placed).unwrap(), body);
    }
}
