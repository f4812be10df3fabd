//! Charges placed orders.

use super::light::{PAYMENT, light};
use crate::database::sqlite;
use crate::gateway::Gateway;
use crate::messages::OrderPlaced;
use tramline::{Attempt, Endpoint, Failure, Sqlite, State, Tx};

pub(super) fn endpoint() -> Endpoint {
    light(PAYMENT).subscribe::<OrderPlaced>().handle(charge)
}

/// The gateway first: only what it has charged goes into the ledger.
async fn charge(
    OrderPlaced(order): OrderPlaced,
    State(gateway): State<Gateway>,
    attempt: Attempt,
    tx: Tx<Sqlite>,
) -> Result<(), Failure> {
    gateway.charge(&order, attempt).await?;
    sqlite::enter_charge(&tx, order, attempt)
}
