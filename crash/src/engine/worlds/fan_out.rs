//! Events reach everybody whom they concern, and nobody else. Handlers without transactions.

use super::handlers::{plain, retry};
use crate::engine::evidence::dead;
use crate::engine::message::Order;
use tramline::testing::{Life, Scenario};
use tramline::{BusBuilder, Endpoint, Failure, Filter};

pub(super) fn fan_out() -> Scenario {
    fan_out_with(Life::bus)
}

/// The same on a bus of the caller's.
pub(crate) fn fan_out_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    async fn large(order: Order) -> Result<(), Failure> {
        if order.n > 2 { Ok(()) } else { Err(Failure::permanent("it is not for us")) }
    }
    let build = move |life: &Life| {
        let all = Endpoint::new("all").subscribe::<Order>().retry(retry()).concurrency(2);
        let by_sql = Endpoint::new("large").subscribe_where::<Order>(Filter::sql("n > 2"));
        let by_subject = Endpoint::new("shop").subscribe_to("orders", "orders.*", Filter::All);
        bus(life)
            .endpoint(all.handle(plain))
            .endpoint(by_sql.retry(retry()).handle(large))
            .endpoint(by_subject.handle(plain))
    };
    (1..=4)
        .fold(Scenario::new(build).process(build), |scenario, n| {
            scenario.publish(Order::failing(n, n % 2))
        })
        .finally("nobody gets what was not asked for", |after| {
            match dead(after, "large").into_iter().find(|n| *n <= 2) {
                Some(n) => Err(format!("order {n} came to those who asked for more than 2")),
                None => Ok(()),
            }
        })
}
