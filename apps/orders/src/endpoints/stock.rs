//! Answers whether something can be delivered, to whoever asks in this process.
//!
//! Stock and payment are in one database and one process, so the request needs no message, and no reply can be lost
//! with a process. For a stock of its own elsewhere the same responder goes to an endpoint there, and payment asks
//! by `bus.request`.

use crate::database::Stock;
use crate::messages::{CheckStock, StockChecked};
use tramline::StartError;
use tramline::State;
use tramline::request::Mediator;

/// Who asks about `stock`.
pub(crate) fn stock_desk(stock: Stock) -> Result<Mediator, StartError> {
    Mediator::builder().state(stock).respond(check).start()
}

/// An answer is no promise: what is taken meanwhile, inventory sees.
async fn check(CheckStock { units }: CheckStock, State(stock): State<Stock>) -> StockChecked {
    StockChecked { is_enough: units <= stock.units_left() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_is_enough_and_one_more_is_not() {
        let desk = stock_desk(Stock::of(7)).unwrap();
        for (units, is_enough) in [(-1, true), (7, true), (8, false)] {
            let checked = desk.request(CheckStock { units }).await.unwrap();
            assert_eq!(checked.is_enough, is_enough, "{units}");
        }
    }
}
