//! Charges placed orders.

use super::light::{PAYMENT, light};
use crate::database::Tables;
use crate::gateway::Gateway;
use crate::messages::OrderPlaced;
use tramline::{Attempt, Endpoint, Failure, State, Tx};

pub(super) fn endpoint<S: Tables>() -> Endpoint {
    light(PAYMENT).subscribe::<OrderPlaced>().handle(charge::<S>)
}

/// The gateway first: only what it has charged goes into the ledger.
async fn charge<S: Tables>(
    OrderPlaced(order): OrderPlaced,
    State(gateway): State<Gateway>,
    attempt: Attempt,
    mut tx: Tx<S>,
) -> Result<(), Failure> {
    gateway.charge(&order, attempt).await?;
    S::enter_charge(&mut tx, order, attempt)
}
