//! Takes what was ordered from the stock.

use super::light::{INVENTORY, light};
use crate::database::Tables;
use crate::messages::OrderPlaced;
use tramline::{Endpoint, Failure, Tx};

pub(super) fn endpoint<S: Tables>() -> Endpoint {
    light(INVENTORY).subscribe::<OrderPlaced>().handle(pick::<S>)
}

async fn pick<S: Tables>(OrderPlaced(order): OrderPlaced, mut tx: Tx<S>) -> Result<(), Failure> {
    S::take_from_stock(&mut tx, order.units)
}
