//! Takes what was ordered from the stock.

use super::light::{INVENTORY, light};
use crate::database::sqlite;
use crate::messages::OrderPlaced;
use tramline::{Endpoint, Failure, Sqlite, Tx};

pub(super) fn endpoint() -> Endpoint {
    light(INVENTORY).subscribe::<OrderPlaced>().handle(pick)
}

async fn pick(OrderPlaced(order): OrderPlaced, tx: Tx<Sqlite>) -> Result<(), Failure> {
    sqlite::take_from_stock(&tx, order.units)
}
