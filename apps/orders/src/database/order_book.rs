//! Where orders are placed, whichever database they are in.

use super::{Database, Opened, Placed, postgres, sqlite};
use crate::order::Order;
use std::sync::Arc;
use tramline::core::clock::{Entropy, Timestamp};
use tramline::{Bus, Failure, MessageId};

/// The order and the event that it was placed, in one transaction. Clones are the same book.
#[derive(Clone)]
pub(crate) struct OrderBook {
    book: Book,
    entropy: Arc<dyn Entropy>,
}

#[derive(Clone)]
enum Book {
    Sqlite(sqlite::OrderBook),
    Postgres(postgres::OrderBook),
}

impl OrderBook {
    /// The book in `database`; `bus` tells the world.
    pub(crate) fn new(bus: &Bus, database: &Database, entropy: Arc<dyn Entropy>) -> Self {
        let book = match database.opened() {
            Opened::Sqlite(tables) => Book::Sqlite(sqlite::OrderBook::new(bus, tables)),
            Opened::Postgres(tables) => Book::Postgres(postgres::OrderBook::new(bus, tables)),
        };
        Self { book, entropy }
    }

    /// Places `order`. Ends when the order and its event are durable. The same order again is no
    /// second one.
    pub(crate) async fn place(
        &self,
        order: Order,
        received_at: Timestamp,
    ) -> Result<Placed, Failure> {
        let event_id = MessageId::new(received_at, self.entropy.bits());
        match &self.book {
            Book::Sqlite(book) => book.place(order, event_id, received_at).await,
            Book::Postgres(book) => book.place(order, event_id, received_at).await,
        }
    }
}
