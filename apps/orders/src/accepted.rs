//! What happens inside the API when an order is accepted: a domain event, handled in the transaction that writes the
//! order. Who places an order does not know who has to hear of it.

use crate::messages::{OrderEvent, OrderPlaced};
use crate::order::Order;
use tramline::events::Event;
use tramline::{Failure, MessageId, Outbox};

/// An order goes into the book, unless this fails.
#[derive(Clone, Debug)]
pub(crate) struct OrderAccepted {
    pub(crate) order: Order,
    /// Under which id the world is told.
    pub(crate) event_id: MessageId,
}

/// The event with all that handle it.
pub(crate) fn accepted() -> Event<OrderAccepted> {
    Event::new().handle(announce)
}

/// The world hears of the order when it is in the book.
async fn announce(
    OrderAccepted { order, event_id }: OrderAccepted,
    outbox: Outbox,
) -> Result<(), Failure> {
    outbox.publish(OrderPlaced(order).draft().id(event_id)).map(drop)
}
