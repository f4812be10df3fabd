//! Charges placed orders.

use super::light::{PAYMENT, light};
use crate::database::Tables;
use crate::gateway::Gateway;
use crate::messages::{CheckStock, OrderPlaced};
use std::time::Duration;
use tramline::request::Mediator;
use tramline::{Attempt, CircuitBreaker, Endpoint, Failure, State, Tx};

/// So many calls are looked at before the gateway counts as down: an order in trouble is not an outage.
const CALLS_MIN: u32 = 20;
/// For how long nobody asks a gateway that is down.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// While the gateway is down, orders wait in their queue instead of using up their attempts.
pub(super) fn endpoint<S: Tables>() -> Endpoint {
    let gateway = CircuitBreaker::named("gateway").calls_min(CALLS_MIN).open_for(OPEN_FOR).build();
    light(PAYMENT).circuit_breaker(&gateway).subscribe::<OrderPlaced>().handle(charge::<S>)
}

/// The stock first: inventory takes from it what was ordered, perhaps this order too by now, and while more was ordered
/// than there is nobody is charged. Then the gateway: only what it has charged goes into the ledger.
async fn charge<S: Tables>(
    OrderPlaced(order): OrderPlaced,
    State(stock): State<Mediator>,
    State(gateway): State<Gateway>,
    attempt: Attempt,
    mut tx: Tx<S>,
) -> Result<(), Failure> {
    if stock.request(CheckStock).await?.units_left < 0 {
        return Err(Failure::permanent("out of stock: redrive it when more was delivered"));
    }
    gateway.charge(&order, attempt).await?;
    S::enter_charge(&mut tx, order, attempt)
}
