//! Answers how much is in stock, to whoever asks in this process.
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
async fn check(CheckStock: CheckStock, State(stock): State<Stock>) -> StockChecked {
    StockChecked { units_left: stock.units_left() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_desk_knows_what_is_left() {
        let desk = stock_desk(Stock::of(-7)).unwrap();
        assert_eq!(desk.request(CheckStock).await.unwrap(), StockChecked { units_left: -7 });
    }
}
