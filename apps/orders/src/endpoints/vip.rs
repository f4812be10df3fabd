//! Remembers customers who spent more than a thousand dollars at once.

use super::light::{VIP, light};
use crate::database::Tables;
use crate::messages::OrderPlaced;
use tramline::{Endpoint, Failure, Filter, Tx};

pub(super) fn endpoint<S: Tables>() -> Endpoint {
    let large = Filter::sql("total > 1000");
    light(VIP).subscribe_where::<OrderPlaced>(large).handle(remember::<S>)
}

async fn remember<S: Tables>(
    OrderPlaced(order): OrderPlaced,
    mut tx: Tx<S>,
) -> Result<(), Failure> {
    S::remember_vip(&mut tx, order)
}
