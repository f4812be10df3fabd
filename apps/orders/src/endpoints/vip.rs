//! Remembers customers who spent more than a thousand dollars at once.

use super::light::{VIP, light};
use crate::database::sqlite;
use crate::messages::OrderPlaced;
use tramline::{Endpoint, Failure, Filter, Sqlite, Tx};

pub(super) fn endpoint() -> Endpoint {
    let large = Filter::sql("total > 1000");
    light(VIP).subscribe_where::<OrderPlaced>(large).handle(remember)
}

async fn remember(OrderPlaced(order): OrderPlaced, tx: Tx<Sqlite>) -> Result<(), Failure> {
    sqlite::remember_vip(&tx, order)
}
