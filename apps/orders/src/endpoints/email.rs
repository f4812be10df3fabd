//! Writes to customers whose order is paid.

use super::light::{EMAIL, light};
use crate::clock::SharedClock;
use crate::database::Tables;
use crate::messages::OrderPaid;
use crate::order::Order;
use tramline::{Endpoint, Failure, State, Tx};

pub(super) fn endpoint<S: Tables>() -> Endpoint {
    light(EMAIL).subscribe::<OrderPaid>().handle(confirm::<S>)
}

async fn confirm<S: Tables>(
    OrderPaid(order): OrderPaid,
    State(clock): State<SharedClock>,
    mut tx: Tx<S>,
) -> Result<(), Failure> {
    S::send_mail(&mut tx, order.order_id, text(&order), clock)
}

/// The mail as the customer reads it.
fn text(order: &Order) -> String {
    let Order { order_id, user_id, date, units, total } = order;
    let what = if *units == 1 { "CD" } else { "CDs" };
    format!(
        "To: customer-{user_id}@example.com\n\
         Subject: Your order {order_id}\n\n\
         Thank you for your order of {date}: {units} {what}.\n\
         We have charged {total} dollars, and it is on its way.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Written;

    #[test]
    fn a_mail_says_what_was_bought_and_charged() {
        let order = Order::read(&Written::bare(["7", "4", "1997-01-31", "1", "11.77"]));
        let text = text(&order.unwrap());
        for part in ["customer-4@", "order 7", "1997-01-31: 1 CD.", "charged 11.77 dollars"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
